/**
 * Keeps the screen on, as far as the browser lets a page that came over http. The Wake Lock API is for https pages
 * alone, so mostly it is a silent video that plays on. What browsers ask of one:
 *  - Chromium: visible, and larger than a fifth of the window; so it fills the window, all but transparent, behind
 *    everything.
 *  - Firefox: a sound track; so it has one, silent.
 *  - Safari: a sound track, not muted, and no `loop` attribute; so it is wound back by hand, and unmuted there after a
 *    tap.
 */
import movie from './awake.mp4';

/**
 * held: the system has promised. asked: a video plays, which should do. tap: it may play after a tap. denied: it may
 * not.
 */
export type Awake = 'held' | 'asked' | 'tap' | 'denied';

const isSafari = /AppleWebKit/.test(navigator.userAgent) && !/Chrom(e|ium)|Android/.test(navigator.userAgent);

export class KeepAwake {
  private readonly video: HTMLVideoElement;
  private readonly onChange: (awake: Awake) => void;

  constructor(video: HTMLVideoElement, onChange: (awake: Awake) => void) {
    this.video = video;
    this.onChange = onChange;
    video.muted = true;
    video.loop = !isSafari;
    video.src = movie;
    video.addEventListener('timeupdate', () => {
      if (isSafari && video.currentTime > video.duration / 2) video.currentTime = 0;
    });
    // The system stops both when the page goes behind another.
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') void this.start(false);
    });
  }

  /** @param tapped within a person's tap: a browser lets a page do more then */
  async start(tapped: boolean): Promise<void> {
    if (await this.lock()) return this.onChange('held');
    if (isSafari && tapped) this.video.muted = false;
    try {
      await this.video.play();
      this.onChange(isSafari && this.video.muted ? 'tap' : 'asked');
    } catch {
      this.onChange(tapped ? 'denied' : 'tap');
    }
  }

  private async lock(): Promise<boolean> {
    if (!('wakeLock' in navigator)) return false;
    try {
      await navigator.wakeLock.request('screen');
      return true;
    } catch {
      return false;
    }
  }
}
