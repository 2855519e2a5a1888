# A relay, behind a reverse proxy that speaks TLS for it (docs/operations.md):
#
#   docker build -t wstun .
#   docker run -d --name relay --stop-timeout 40 -p 127.0.0.1:8080:8080 -v wstun-state:/state wstun \
#     relay --admin 127.0.0.1:9180 --url wss://relay.example.org
#   docker exec relay wstun access add alice
#
# The first start prints an invite, into `docker logs relay`. The volume holds the relay's keys and its access list: lose it, and every invite made so far stops working.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY tools ./tools
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:24-bookworm-slim
# XDG_STATE_HOME puts the state into the volume for every command, `docker exec` included.
ENV NODE_ENV=production XDG_STATE_HOME=/state
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY bin ./bin
COPY package.json LICENSE ./
# A new volume takes its owner from here, so that the relay need not be root.
RUN install -d -o node -g node -m 0700 /state && ln -s /app/bin/wstun.js /usr/local/bin/wstun
VOLUME /state
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
# The image has no curl, so Node asks, at the address that the command was given: of the container's own loopback, mostly. Without
# `--admin`, a process that runs is all that can be known.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "const given = /\\0--admin[\\0=]([^\\0]+)/.exec(require('node:fs').readFileSync('/proc/1/cmdline', 'utf8')); if (given) fetch(`http://${given[1]}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/wstun.js"]
CMD ["relay", "--admin", "127.0.0.1:9180"]
