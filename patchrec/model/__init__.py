"""The model: prompt, patches, token forest and backbone."""
