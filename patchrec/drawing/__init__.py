"""Charts and pages: what a picture shows, how it is drawn, how a report becomes one file. Knows no store."""
