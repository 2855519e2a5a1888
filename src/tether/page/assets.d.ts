/** Files that the build puts into the page as data URLs. */
declare module '*.mp4' {
  const url: string;
  export default url;
}
