import { open, type FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { formatBytes, MiB } from '../../workflows/contract/bytes';
import { Failure, isFailure } from '../../workflows/contract/failures';
import { findTool, runCommand } from '../command';
import type { ProgressReporter } from '../progress';
import { expansionLimit } from './formats/expansion';
import { findPackage, startsWith, startsWithZstd } from './formats/packages';
import { refuse } from './formats/verdict';
import { refusalFailure } from './inspect';
import type { ImagePolicy } from './policy';
import { appendSparse } from './sparse-write';
import { getDefaultToolGuard, type ToolGuard } from './tool-guard';

export interface ExpandRequest {
  imageId: string;
  /** The complete, verified file. */
  path: string;
  /** The file to fill; its content is thrown away. */
  expandedPath: string;
  policy: ImagePolicy;
  reporter: ProgressReporter;
  guard?: ToolGuard;
  /** Sets aside room for this many bytes in all, before they are written. Errors that it throws pass through. */
  reserve: (bytes: number) => Promise<void>;
}

interface Compression {
  tool: string;
  isThis: (head: Buffer) => boolean;
  args: string[];
  /** The tool's messages about a file that is not sound, or that needs more memory than is allowed; in the C locale. */
  verdict: RegExp;
}

/** Memory of a decoder: xz takes 65 MiB for what it compressed at its strongest, zstd a window of 128 MiB. */
const DECODER_MIB = 512;
/** Formats of `container_format` compressed, by first bytes. Memory of a decoder is bounded besides. Sources: RFC 1952, the xz and the Zstandard format. */
const compressions: Compression[] = [
  {
    tool: 'gzip',
    isThis: startsWith('1f8b'),
    args: ['-dc'],
    verdict:
      /unexpected end of file|invalid compressed data|trailing garbage|not supported|not in gzip format|corrupted data|crc error|incorrect length|invalid magic/,
  },
  {
    tool: 'xz',
    isThis: startsWith('fd377a585a00'),
    args: ['-dcq', `--memlimit-decompress=${DECODER_MIB}MiB`],
    verdict:
      /Unexpected end of input|Compressed data is corrupt|File format not recognized|Unsupported options|Memory usage limit reached/,
  },
  {
    tool: 'zstd',
    isThis: startsWithZstd,
    args: ['-dcq', `--memory=${DECODER_MIB}MB`],
    verdict:
      /premature end|Decoding error \(\d+\) : (?!Allocation error)|unsupported format|Window size larger than maximum/,
  },
];
/** Messages of xz and zstd about a stream that takes more memory than they may have. */
const TOO_MUCH_MEMORY =
  /Memory usage limit reached|requires too much memory for decoding|Window size larger than maximum/;
/** Enough to know any other file by. */
const HEAD_BYTES = 512;
/** Room is set aside in steps, since nothing that can be believed tells the size beforehand. */
const RESERVE_STEP_BYTES = 64 * MiB;

/**
 * Decompresses an image as a stream into `expandedPath`, sparse, not fsynced: by a confined tool whose output is bounded by the policy's proportion and
 * size. Nothing of the result is believed: it is inspected next. Repeatable.
 * @throws ImageRefused (not compressed, damaged, too large), ImageUnsupported (this host lacks the tool): final; ToolFailed, what `reserve` throws (retried).
 */
export async function expandImage(request: ExpandRequest): Promise<{ bytes: number }> {
  const { imageId, path, expandedPath, reporter } = request;
  const guard = request.guard ?? (await getDefaultToolGuard());
  const source = await open(path, 'r');
  try {
    const { tool, args } = await getCompression(source, imageId);
    const { size } = await source.stat();
    const target = await open(expandedPath, 'w', 0o600);
    try {
      const write = { ...request, target, compressedBytes: size };
      let bytes = 0;
      const consume = async (stdout: Readable): Promise<void> => void (bytes = await writeBounded(stdout, write));
      const { confinement, limits, timeoutMs } = guard;
      const options = { timeoutMs, limits, confinement, signal: reporter.signal, input: source.fd, consume };
      await runCommand(tool, args, options);
      return { bytes };
    } finally {
      await target.close();
    }
  } catch (error) {
    throw isDamaged(error) ? damaged(imageId, error) : error;
  } finally {
    await source.close();
  }
}

async function getCompression(source: FileHandle, imageId: string): Promise<Compression> {
  const { buffer, bytesRead } = await source.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const head = buffer.subarray(0, bytesRead);
  const found = compressions.find(({ isThis }) => isThis(head));
  if (found === undefined) {
    const what = findPackage(head)?.what ?? `bytes that begin with ${head.toString('hex', 0, 6)}`;
    const refusal = { found: what, allowed: 'a gzip, xz or zstd file: compress the disk with one of them' };
    throw refusalFailure(refuse('container-not-compressed', { offset: 0, ...refusal }), imageId);
  }
  if (findTool(found.tool) !== undefined) return found;
  const allowed = `a format that this host can decompress; it has no ${found.tool}`;
  throw new Failure('ImageUnsupported', { imageId, found: `an image compressed with ${found.tool}`, allowed });
}

interface Write extends ExpandRequest {
  target: FileHandle;
  compressedBytes: number;
}

/** @returns the bytes written. @throws ImageRefused as soon as there are more than the policy allows. */
async function writeBounded(stdout: Readable, write: Write): Promise<number> {
  const { imageId, policy, target, compressedBytes, reporter, reserve } = write;
  const limit = Math.min(expansionLimit({ sizeBytes: compressedBytes, policy }), maxFileBytes(policy));
  let bytes = 0;
  let reserved = 0;
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    const after = bytes + chunk.length;
    if (after > limit) {
      const finding = {
        found: `more than ${limit} bytes from a file of ${compressedBytes}`,
        allowed: `at most ${limit} bytes`,
      };
      throw refusalFailure(refuse('expansion-too-large', finding), imageId);
    }
    if (after > reserved) {
      reserved = Math.min(reserved + RESERVE_STEP_BYTES, limit);
      await reserve(reserved);
      reporter.report({
        stage: 'inspecting',
        summary: `decompressing image ${imageId}: ${formatBytes(bytes)} so far`,
      });
    }
    await appendSparse(target, { view: chunk, position: bytes });
    bytes = after;
  }
  return bytes;
}

/** An image file of the largest disk with nothing left out, and its tables. */
function maxFileBytes(policy: ImagePolicy): number {
  return policy.maxVirtualBytes + policy.expansionAllowanceBytes;
}

/**
 * A decoder that says so has found the fault in the file. A bad exit alone is no word of its: the programs that confine it, the loader and a host
 * without memory end so too.
 */
function isDamaged(error: unknown): error is Failure<'ToolFailed'> {
  if (!isFailure(error, 'ToolFailed')) return false;
  const { tool, exit, stderr } = error.details;
  const verdict = compressions.find((compression) => compression.tool === tool)?.verdict;
  return exit.startsWith('exit ') && verdict?.test(stderr) === true;
}

function damaged(imageId: string, { details: { tool, stderr } }: Failure<'ToolFailed'>): Failure {
  const refusal = TOO_MUCH_MEMORY.test(stderr)
    ? refuse('container-memory', {
        found: `a file that ${tool} needs more memory for`,
        allowed: `${DECODER_MIB} MiB: compress it with a smaller window or dictionary`,
      })
    : refuse('container-damaged', {
        found: `a file that ${tool} cannot read to its end`,
        allowed: 'a sound compressed file',
      });
  return refusalFailure(refusal, imageId);
}
