# Stowage: the API by default, the agent with `python -m app.agent`. One container is one worker.

FROM python:3.13-slim-trixie AS build

RUN python -m venv --without-pip /opt/stowage
COPY requirements-container.lock .
# Wheels only: nothing is compiled here, so nothing to compile with is needed. Translations are left
# out (USE_I18N is off): thousands of files, a tenth of the image.
RUN pip --python /opt/stowage install --quiet --disable-pip-version-check --root-user-action=ignore \
      --no-cache-dir --no-compile --only-binary=:all: --require-hashes -r requirements-container.lock \
 && find /opt/stowage -name LC_MESSAGES -prune -exec rm -r {} +
COPY app /srv/stowage/app
COPY settings /srv/stowage/settings
COPY asgi.py manage.py docker/healthy.sh /srv/stowage/
# Unchecked: files of an image never change, so no start compares their times. Libraries are compiled
# without what only people read, which every worker would hold (app/ops/bytecode.py).
WORKDIR /srv/stowage
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /srv/stowage \
 && PYTHONNODEBUGRANGES=1 python -m app.ops.bytecode /opt/stowage/lib

FROM python:3.13-slim-trixie

LABEL org.opencontainers.image.title="Stowage" \
      org.opencontainers.image.description="An async-first, DRF-style REST API for fleets of containers" \
      org.opencontainers.image.licenses="BSD-3-Clause"

ENV PATH=/opt/stowage/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=settings.production

COPY --from=build /opt/stowage /opt/stowage
COPY --from=build /srv/stowage /srv/stowage
WORKDIR /srv/stowage

# The base image comes without bytecode for the standard library. What API and agent import is compiled
# here, once, and not on every start of every container; it also shows that they can be imported.
RUN SECRET_KEY=$(head -c 48 /dev/urandom | base64) ALLOWED_HOSTS=localhost \
    DATABASE_URL=postgresql://nobody@localhost/nothing PYTHONNODEBUGRANGES=1 \
    python -m app.ops.bytecode --imported-by \
      asgi,app.urls,app.agent.__main__,uvicorn.main,uvicorn.loops.uvloop,app.ops.protocols,_strptime

# Mount points of the volumes that hold secrets: a new volume takes over owner and mode.
RUN install -d -o 10001 -g 10001 /run/stowage /run/stowage-database /run/stowage-agent

USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["bash", "/srv/stowage/healthy.sh"]
CMD ["uvicorn", "asgi:application", "--host", "0.0.0.0", "--port", "8000", "--loop", "uvloop", \
     "--http", "app.ops.protocols:BoundedProtocol", "--ws", "none", "--no-access-log", "--no-server-header", "--log-level", "warning", \
     "--timeout-graceful-shutdown", "20"]
