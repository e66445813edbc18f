/** 4, an image is refused, comes from the failures' table. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  imageRefused: 4,
  unavailable: 5,
  interrupted: 130,
} as const;
