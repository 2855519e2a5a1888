/**
 * All that is used of NATS' packages. It is loaded only for `--cluster`; the build keeps it apart from the rest
 * (tools/build-bundle.mjs), so it must import nothing of wstun.
 */
export {
  AckPolicy,
  DeliverPolicy,
  type JetStreamManager,
  jetstreamManager,
  StorageType,
} from '@nats-io/jetstream';
export { type KV, Kvm } from '@nats-io/kv';
export {
  type ConnectionOptions,
  connect,
  createInbox,
  credsAuthenticator,
  errors,
  type Msg,
  type NatsConnection,
  nanos,
} from '@nats-io/transport-node';
