/**
 * A perl program that closes system calls for itself and what it becomes, since Debian 12's util-linux has no option for it; every Debian has perl (perl-base).
 * It needs no-new-privs. 22: PR_SET_SECCOMP, 2: SECCOMP_MODE_FILTER; the third is a `struct sock_fprog`.
 */
const program = `
use strict;
my ($prctl, $hex) = splice(@ARGV, 0, 2);
my $filter = pack("H*", $hex);
my $given = pack("S x6 P", length($filter) / 8, $filter);
syscall(int($prctl), 22, 2, $given, 0, 0) == 0 or die "seccomp: $!\\n";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";
`;

/** Names as in the kernel's tables (`arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h`). */
interface Architecture {
  audit: number;
  prctl: number;
  clone: number;
  socket: number;
  /** Numbers from here on are those of another ABI. */
  foreignFrom?: number;
  /** Calls that no conversion of a file needs and attacks on a kernel begin with. */
  closed: readonly number[];
}

/** The same everywhere: io_uring_setup, _enter, _register; clone3, whose flags no filter can read; mounts by descriptors; pidfd_getfd. */
const closedEverywhere = [425, 426, 427, 435, 428, 429, 430, 431, 432, 433, 442, 438];

const architectures: Partial<Record<string, Architecture>> = {
  x64: {
    audit: 0xc000_003e,
    prctl: 157,
    clone: 56,
    socket: 41,
    foreignFrom: 0x4000_0000,
    // ptrace, process_vm_readv, _writev; unshare, setns; mount, umount2, pivot_root, chroot; bpf, perf_event_open, userfaultfd; add_key, request_key, keyctl;
    // kexec_load, kexec_file_load; init_module, finit_module, delete_module; name_to_handle_at, open_by_handle_at.
    closed: [
      101, 310, 311, 272, 308, 165, 166, 155, 161, 321, 298, 323, 248, 249, 250, 246, 320, 175, 313, 176, 303, 304,
    ],
  },
  arm64: {
    audit: 0xc000_00b7,
    prctl: 167,
    clone: 220,
    socket: 198,
    closed: [117, 270, 271, 97, 268, 40, 39, 41, 51, 280, 241, 282, 217, 218, 219, 104, 294, 105, 273, 106, 264, 265],
  },
};

const KILL_PROCESS = 0x8000_0000;
const ALLOW = 0x7fff_0000;
const ERRNO = 0x0005_0000;
/** The kernel's answer to a call that it does not have: callers have another way then. */
const NOT_IMPLEMENTED = ERRNO + 38;
const NOT_PERMITTED = ERRNO + 1;
const NO_SUCH_FAMILY = ERRNO + 97;
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NEW_NAMESPACES = 0x7e02_0000;
/** AF_UNIX, AF_INET, AF_INET6: without a network they lead nowhere. The others are code of the kernel that namespaces do not close. */
const families = [1, 2, 10];

/** Offsets in `struct seccomp_data`; the low half of an argument, on both little-endian machines. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;

/** @returns what closes io_uring and other calls that a conversion does not need to the next program; undefined on machines that we have no numbers of. */
export function seccompArgv(perl: string, machine: string = process.arch): string[] | undefined {
  const found = architectures[machine];
  if (found === undefined) return undefined;
  const { audit, prctl, clone, socket, foreignFrom, closed } = found;
  const filter = [
    load(ARCHITECTURE),
    ...unlessEqual(audit, KILL_PROCESS),
    load(NUMBER),
    ...(foreignFrom === undefined ? [] : [jumpIfLess(foreignFrom, 1), answer(NOT_IMPLEMENTED)]),
    ...[...closedEverywhere, ...closed].flatMap((number) => [jumpUnless(number, 1), answer(NOT_IMPLEMENTED)]),
    jumpUnless(clone, 4),
    load(FIRST_ARGUMENT),
    and(NEW_NAMESPACES),
    jumpIf(0, 1),
    answer(NOT_PERMITTED),
    load(NUMBER),
    jumpUnless(socket, 2 + families.length),
    load(FIRST_ARGUMENT),
    ...families.map((family, index) => jumpIf(family, families.length - index)),
    answer(NO_SUCH_FAMILY),
    answer(ALLOW),
  ];
  return [perl, '-e', program, String(prctl), Buffer.concat(filter).toString('hex')];
}

/** `struct sock_filter`. Source: the kernel's `include/uapi/linux/filter.h` and `bpf_common.h`. */
function instruction(code: number, value: number, [whenTrue, whenFalse]: [number, number] = [0, 0]): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(whenTrue, 2);
  bytes.writeUInt8(whenFalse, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}

const load = (offset: number): Buffer => instruction(0x20, offset);
const and = (mask: number): Buffer => instruction(0x54, mask);
const answer = (value: number): Buffer => instruction(0x06, value);
const jumpIf = (value: number, skipped: number): Buffer => instruction(0x15, value, [skipped, 0]);
const jumpUnless = (value: number, skipped: number): Buffer => instruction(0x15, value, [0, skipped]);
const jumpIfLess = (value: number, skipped: number): Buffer => instruction(0x35, value, [0, skipped]);
const unlessEqual = (value: number, otherwise: number): Buffer[] => [jumpIf(value, 1), answer(otherwise)];
