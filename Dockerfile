# Tidegate as an image. Configured by REGISTRY_* variables alone, as in docker-compose.yml, or by a
# registry:2 config.yml that is mounted and named: `serve /etc/tidegate/config.yml`, or the variable
# REGISTRY_CONFIGURATION_PATH. Mounted keys and password files must be readable by user 1000.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install scripts: the only one is that of the pinned `node`, which the base image stands for.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN node_modules/.bin/tsc -p tsconfig.build.json --declaration false \
  && chmod +x dist/cli.js \
  && npm prune --omit=dev --ignore-scripts

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="Tidegate" \
  org.opencontainers.image.description="A container registry with TLS, passwords, CORS and right Location headers, or these in front of another" \
  org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /app
COPY LICENSE package.json ./
COPY scripts/healthcheck.js scripts/
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
# For `docker exec NAME tidegate check` and the like.
RUN ln -s /app/dist/cli.js /usr/local/bin/tidegate
# The store, where registry:2's image has it. A volume that is new takes over the owner.
RUN mkdir -p /var/lib/registry && chown 1000:1000 /var/lib/registry
VOLUME /var/lib/registry

# Not root, and still on port 443: container engines let every user bind low ports in a container's
# own network (net.ipv4.ip_unprivileged_port_start=0: Docker since 20.10, containerd 2.0 for
# Kubernetes). Elsewhere, and on the host's network, set that sysctl or use a port from 1024 on.
# A file capability on node would do without, but then `cap_drop: ALL` would forbid to start it.
USER 1000:1000

EXPOSE 443 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["node", "/app/scripts/healthcheck.js"]
# No shell in between: node itself is process 1, gets SIGTERM and lets transfers finish.
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]
