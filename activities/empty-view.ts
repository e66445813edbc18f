/** A perl program stands between `unshare` and the tool where util-linux has no option; every Debian has perl (perl-base). */
interface Numbers {
  mount: number;
  chroot: number;
}

/** Of the kernel's tables, by machine. */
const numbersOf: Partial<Record<string, Numbers>> = {
  x64: { mount: 165, chroot: 161 },
  arm64: { mount: 40, chroot: 51 },
};

/** Where programs and their libraries are, beside the directories of PATH that everybody may pass. */
const SHOWN = ['usr', 'lib', 'lib32', 'lib64', 'bin', 'sbin'];

/* Flags of mount(2): MS_RDONLY 1, MS_NOSUID 2, MS_NODEV 4, MS_NOEXEC 8, MS_REMOUNT 32, MS_BIND 4096, MS_REC 16384. */
const program = (shown: readonly string[]): string => `
use strict;
my ($mount, $chroot) = map { int } splice(@ARGV, 0, 2);
sub isOpen {
  my $path = "";
  for my $part (grep { length } split(m{/}, $_[0])) {
    $path .= "/$part";
    my $mode = (stat($path))[2];
    return 0 unless defined($mode) && $mode & 1;
  }
  return 1;
}
my @tools = grep { m{^/} && -d $_ && isOpen($_) } split(/:/, $ENV{PATH});
my ($root) = grep { my $place = $_; -d $place && !grep { index("$_/", "$place/") == 0 } @tools } qw(/mnt /media /srv /run /tmp);
defined($root) or die "no place to mount on\\n";
sub attach {
  my ($from, $to, $type, $flags, $data) = map { "$_" } @_;
  syscall($mount, $from, $to, $type, int($flags), $data) == 0 or die "mount $to: $!\\n";
}
attach("tmpfs", $root, "tmpfs", 2|4|8, "mode=0755,size=64k");
for my $name (qw(${shown.join(' ')})) {
  if (-l "/$name") { symlink(readlink("/$name"), "$root/$name") or die "$name: $!\\n" }
  elsif (-d "/$name") {
    mkdir("$root/$name") or die "$name: $!\\n";
    attach("/$name", "$root/$name", "", 4096|16384, "");
    attach("", "$root/$name", "", 1|2|4|32|4096, "");
  }
}
for my $tools (@tools) {
  next if -e "$root$tools";
  my $made = $root;
  for my $part (grep { length } split(m{/}, $tools)) {
    $made .= "/$part";
    -d $made or mkdir($made) or die "$made: $!\\n";
  }
  attach($tools, "$root$tools", "", 4096|16384, "");
  attach("", "$root$tools", "", 2|4|32|4096, "");
}
-d "$root/$_" or mkdir("$root/$_") or die "$_: $!\\n" for qw(etc etc/alternatives dev proc);
for my $file (qw(/etc/ld.so.cache /dev/null)) {
  next unless -e $file;
  open(my $empty, ">", "$root$file") or die "$file: $!\\n";
  close($empty);
  attach($file, "$root$file", "", 4096, "");
}
attach("/etc/alternatives", "$root/etc/alternatives", "", 4096, "") if -d "/etc/alternatives";
attach("/proc", "$root/proc", "", 4096|16384, "");
attach("", $root, "", 1|2|4|8|32|4096, "");
chdir($root) or die "chdir: $!\\n";
my $here = ".";
syscall($chroot, $here) == 0 or die "chroot: $!\\n";
chdir("/") or die "chdir: $!\\n";
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\\n";
`;

/**
 * @returns what shows the next program nothing but programs, libraries and `/proc`, in a mount namespace that it has already; it must still be root there.
 * It opens the files that it is handed through `/proc`. Undefined on machines that we have no numbers of.
 */
export function emptyViewArgv(perl: string, machine: string = process.arch): string[] | undefined {
  const numbers = numbersOf[machine];
  return numbers && [perl, '-e', program(SHOWN), String(numbers.mount), String(numbers.chroot)];
}
