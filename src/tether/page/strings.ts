/** Every text of the page for people, in one table: a translation is another such table. */

export const STRINGS = {
  headline: {
    /** Connecting to the laptop. */
    joining: 'Connecting',
    /** Paired; the laptop has asked for nothing yet, or may ask again. */
    idle: 'Ready',
    /** Paired; the laptop reaches the relay without this page. */
    direct: 'Ready',
    /** Paired; another page carries the links. */
    standby: 'On standby',
    /** The upstream connection is being opened. */
    opening: 'Connecting',
    /** This page carries a link. */
    active: 'Connected',
    /** Nothing answers at the relay. A browser cannot tell whether that is the phone's fault or the relay's. */
    offline: 'No way to the relay',
    /** Something answers there, but accepts no link. */
    refused: 'Rejected',
    /** The connection to the laptop is lost. */
    gone: 'Laptop not reachable',
    /** The secret is used up, too old, or of an earlier client: the laptop does not say which. */
    expired: 'Scan a new code',
    /** Opened without a secret. */
    bare: 'Scan the code',
    /** The same page is open in another tab. */
    replaced: 'Open in another tab',
  },
  detail: {
    joining: 'Looking for your laptop on this network.',
    idle: 'This phone waits until your laptop needs it.',
    direct: 'Your laptop has its own connection. It uses no data of this phone.',
    standby: 'Another phone connects your laptop. This one takes over if it fails.',
    opening: 'Connecting to the relay.',
    active: 'Your laptop is online through this phone.',
    offline: 'Is mobile data on? If it is, the relay may be down. Trying again.',
    refused: 'The relay’s address answers, but accepts no connection. Your laptop tries again.',
    gone: 'Check that it is awake and on the same Wi‑Fi. Trying again.',
    expired: 'A code works once, within five minutes. Press Enter at the laptop for a new one.',
    bare: 'To open this page, scan the code on your laptop.',
    replaced: 'This page is already connected in another tab.',
  },
  route: { laptop: 'Laptop', phone: 'This phone', relay: 'Relay' },
  /** Before the address that the laptop prints with its code. */
  laptopAt: 'Laptop at',
  routeLabel: {
    idle: 'not connected',
    busy: 'connecting',
    on: 'connected',
    broken: 'broken',
  },
  down: 'Down',
  up: 'Up',
  used: 'Used',
  since: 'Since',
  keepOpen: 'Keep this page open and in front',
  /** Until it is known whether the screen stays on. */
  keepOpenDetail: '',
  awake: {
    /** By the system. */
    held: 'Screen stays on',
    /** A video plays, which should be enough. */
    asked: 'Keeping the screen on',
    /** There is a button. */
    tap: '',
    denied: 'This browser cannot keep the screen on. Set the screen lock to “never” meanwhile.',
  },
  awakeButton: 'Tap to keep the screen on',
  continueHere: 'Continue here',
  sealed: 'Your laptop encrypts all data. This phone forwards it and cannot read it.',
} as const;

/** In a browser on the laptop itself, which the client has opened. */
export const STRINGS_HERE: Strings = {
  ...STRINGS,
  headline: {
    ...STRINGS.headline,
    gone: 'wstun not reachable',
    expired: 'No longer in use',
    bare: 'Not connected',
  },
  detail: {
    ...STRINGS.detail,
    joining: 'Looking for wstun on this machine.',
    idle: 'This browser waits until wstun needs it.',
    direct: 'wstun does not need this browser at the moment.',
    standby: 'Something else connects wstun. This browser takes over if it fails.',
    active: 'wstun is online through this browser.',
    offline:
      'A login page may be in the way: open any web site. If there is none, the relay may be down. Trying again.',
    refused: 'The relay’s address answers, but accepts no connection. wstun tries again.',
    gone: 'wstun does not answer any more. Trying again.',
    expired: 'wstun opened this page in another tab, or was started again. You may close this one.',
    bare: 'wstun client --via-browser opens this page.',
  },
  route: { laptop: 'wstun', phone: 'This browser', relay: 'Relay' },
  laptopAt: '',
  keepOpen: 'Keep this page open',
  keepOpenDetail: 'If you close it, wstun is offline.',
  sealed: 'wstun encrypts all data. This browser forwards it and cannot read it.',
};

type Texts<T> = { readonly [K in keyof T]: T[K] extends string ? string : Texts<T[K]> };
export type Strings = Texts<typeof STRINGS>;
export type State = keyof typeof STRINGS.headline;
