# llama-server for tiers that name no image of their own: llama.cpp from the wheel xllamacpp. Context: the repository.
#   docker build -f operator/llama.Dockerfile -t tiergarten-llama .

# Any Debian with Python 3.11 or newer and pip; pin it by digest.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS code
WORKDIR /src
COPY locks/build.txt locks/
RUN pip install --no-cache-dir --require-hashes -r locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY operator operator
COPY router router
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${BASE} AS llama-packages
COPY locks/llama.txt /lock.txt
COPY --from=code /wheels /wheels
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv install --no-cache-dir --only-binary :all: --require-hashes -r /lock.txt \
    && pip --python /opt/venv install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM ${BASE} AS llama
# A pod that is told to end asks with curl whether anybody is still served; llama.cpp needs OpenMP.
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl libgomp1 \
    && rm -rf /var/lib/apt/lists/*
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tiergarten-llama" \
      org.opencontainers.image.description="llama.cpp with llama-server's options" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
COPY --from=llama-packages /opt/venv /opt/venv
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["tiergarten-llama-server"]
