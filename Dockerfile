# For CPUs:          docker build -t neurosim-ep .
# For CUDA devices:  docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t neurosim-ep:cuda .
# Runs appear here:  docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/work" neurosim-ep run smoke
# (on CUDA devices with --gpus all)
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-cache-dir /wheels/*.whl
RUN useradd --create-home --uid 1000 neurosim && install --directory --owner=neurosim /work
ENV MPLCONFIGDIR=/tmp/matplotlib
USER neurosim
WORKDIR /work
ENTRYPOINT ["neurosim-ep"]
CMD ["--help"]
