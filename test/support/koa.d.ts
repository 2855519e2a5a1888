/** As much of Koa as the tests of the decoy use. */
declare module 'koa' {
  import type { RequestListener } from 'node:http';

  export default class Koa {
    /** Logs no errors. */
    silent: boolean;
    callback(): RequestListener;
  }
}
