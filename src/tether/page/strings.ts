/** Every text of the page for people, in one table: a translation is another such table. */

export const STRINGS = {
  headline: {
    /** Connecting to the laptop. */
    joining: 'Connecting',
    /** Paired; the laptop needs no link. */
    idle: 'Ready',
    /** Paired; another page carries the links. */
    standby: 'On standby',
    /** The upstream connection is being opened. */
    opening: 'Connecting',
    /** This page carries a link. */
    active: 'Connected',
    /** Nothing answers at the relay. */
    offline: 'Offline',
    /** Something answers there, but accepts no link. */
    refused: 'Rejected',
    /** The connection to the laptop is lost. */
    gone: 'Laptop gone',
    /** The secret is not valid, or no longer valid. */
    expired: 'Code expired',
    /** Opened without a secret. */
    bare: 'Scan the code',
    /** The same page is open in another tab. */
    replaced: 'Open in another tab',
  },
  detail: {
    joining: 'Looking for your laptop on this network.',
    idle: 'Your laptop does not need this phone at the moment.',
    standby: 'Another phone connects your laptop. This one takes over if it fails.',
    opening: 'Connecting to the relay.',
    active: 'Your laptop is online through this phone.',
    offline: 'This phone cannot reach the relay. Check that mobile data is on. Trying again.',
    refused: 'The relay’s address answers, but accepts no connection. Your laptop tries again.',
    gone: 'Check that it is awake and on the same Wi-Fi. Trying again.',
    expired: 'A code works once, within five minutes. Scan the new code on your laptop.',
    bare: 'To open this page, scan the code on your laptop.',
    replaced: 'This page is already connected in another tab.',
  },
  route: { laptop: 'Laptop', phone: 'This phone', relay: 'Relay' },
  routeLabel: {
    idle: 'not connected',
    busy: 'connecting',
    on: 'connected',
    broken: 'broken',
  },
  down: 'Down',
  up: 'Up',
  total: 'Total',
  since: 'Time',
  sinceUnit: { second: 's', minute: 'min', hour: 'h' },
  keepOpen: 'Keep this page open',
  keepOpenDetail: 'Keep it in front and the screen on. If you close it, your laptop is offline.',
  awake: {
    held: 'The screen stays on while this page is in front.',
    asked: 'The screen should stay on while this page is in front.',
    tap: 'Tap the button below to keep the screen on.',
    denied: 'This browser does not let the page keep the screen on. Set the screen lock to “never” for this time.',
  },
  awakeButton: 'Keep the screen on',
  continueHere: 'Continue here',
  sealed: 'All data is encrypted between your laptop and the exit. This phone forwards it and cannot read it.',
} as const;

/** In a browser on the laptop itself, which the client has opened. */
export const STRINGS_HERE: Strings = {
  ...STRINGS,
  detail: {
    ...STRINGS.detail,
    joining: 'Looking for wstun on this machine.',
    idle: 'wstun does not need this browser at the moment.',
    standby: 'Something else connects wstun. This browser takes over if it fails.',
    active: 'wstun is online through this browser.',
    offline: 'This browser cannot reach the relay. A login page may be in the way: open any web site. Trying again.',
    refused: 'The relay’s address answers, but accepts no connection. wstun tries again.',
    gone: 'wstun does not answer any more. Trying again.',
    expired: 'wstun opened this page in another tab, or was started again. You may close this one.',
    bare: 'wstun client --via-browser opens this page.',
  },
  route: { laptop: 'wstun', phone: 'This browser', relay: 'Relay' },
  keepOpenDetail: 'If you close it, wstun is offline.',
  sealed: 'All data is encrypted between wstun and the exit. This browser forwards it and cannot read it.',
};

type Texts<T> = { readonly [K in keyof T]: T[K] extends string ? string : Texts<T[K]> };
export type Strings = Texts<typeof STRINGS>;
export type State = keyof typeof STRINGS.headline;
