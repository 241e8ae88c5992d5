# patchrec on CPUs. The store, backbones and downloads are in the volume /data:
#   docker build -t patchrec .
#   docker run --rm -it -v patchrec:/data patchrec demo
FROM python:3.11-slim AS build
# Where builds of torch without CUDA are; any index with torch of the version in constraints.txt does.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/patchrec
WORKDIR /src
COPY constraints.txt ./
RUN torch="$(grep '^torch==' constraints.txt)" \
    && /opt/patchrec/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "$torch"
COPY . .
RUN /opt/patchrec/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home patchrec && install -d -o patchrec /data
COPY --from=build /opt/patchrec /opt/patchrec
ENV PATH=/opt/patchrec/bin:$PATH PATCHREC_HOME=/data/store XDG_CACHE_HOME=/data/cache
USER patchrec
WORKDIR /data
VOLUME /data
ENTRYPOINT ["patchrec"]
CMD ["--help"]
