//! The pause program, written by hand: it holds a pod's namespaces open and does nothing else.
//!
//! It blocks SIGTERM and SIGINT, ignores SIGCHLD (so that the kernel reaps orphans), and waits; a
//! blocked signal ends it at once, so an engine that shuts down need not wait for it. There is no
//! stack use, no heap and no library: two hundred bytes that the kernel maps read-only.

/// A processor that the pause program is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Arch {
    /// Reads the name that Go, and so the Engine, gives it.
    pub(super) fn from_go(name: &str) -> Option<Self> {
        match name {
            "amd64" => Some(Self::Amd64),
            "arm64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// Go's name for it.
    pub(super) const fn as_go(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The number that ELF knows it by, and the largest page size it runs with.
    const fn machine(self) -> (u16, u64) {
        match self {
            Self::Amd64 => (62, 0x1000),
            Self::Arm64 => (183, 0x1_0000),
        }
    }

    const fn code(self) -> &'static [u8] {
        match self {
            Self::Amd64 => AMD64,
            Self::Arm64 => ARM64,
        }
    }
}

/// Bytes of the ELF header and of the one program header; the code follows.
const HEADERS: usize = 64 + 56;

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;

/// The machine code; it finds [`DATA`] right behind itself.
#[rustfmt::skip]
const AMD64: &[u8] = &[
    0xb8, 0x0d, 0, 0, 0,                    // mov eax, 13           rt_sigaction(
    0xbf, 0x11, 0, 0, 0,                    // mov edi, 17             SIGCHLD,
    0x48, 0x8d, 0x35, 0x3f, 0, 0, 0,        // lea rsi, [rip + 63]     &action,
    0x31, 0xd2,                             // xor edx, edx            NULL,
    0x41, 0xba, 0x08, 0, 0, 0,              // mov r10d, 8             8
    0x0f, 0x05,                             // syscall               )
    0xb8, 0x0e, 0, 0, 0,                    // mov eax, 14           rt_sigprocmask(
    0x31, 0xff,                             // xor edi, edi            SIG_BLOCK,
    0x48, 0x8d, 0x35, 0x47, 0, 0, 0,        // lea rsi, [rip + 71]     &signals, NULL, 8
    0x0f, 0x05,                             // syscall               )
    0x48, 0x8d, 0x3d, 0x3e, 0, 0, 0,        // lea rdi, [rip + 62]   wait: rt_sigtimedwait(&signals,
    0x31, 0xf6,                             // xor esi, esi            NULL, NULL, 8
    0xb8, 0x80, 0, 0, 0,                    // mov eax, 128
    0x0f, 0x05,                             // syscall               )
    0x85, 0xc0,                             // test eax, eax
    0x78, 0xec,                             // js wait               interrupted: wait again
    0xb8, 0xe7, 0, 0, 0,                    // mov eax, 231          exit_group(
    0x31, 0xff,                             // xor edi, edi            0
    0x0f, 0x05,                             // syscall               )
    0x0f, 0x0b,                             // ud2
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90,     // nop                   to a multiple of eight bytes
];

/// The same for aarch64; the addresses are relative to each `adr`.
#[rustfmt::skip]
const ARM64: &[u8] = &[
    0x20, 0x02, 0x80, 0xd2,                 // mov x0, 17            rt_sigaction(SIGCHLD,
    0x61, 0x02, 0x00, 0x10,                 // adr x1, +76             &action,
    0x02, 0x00, 0x80, 0xd2,                 // mov x2, 0               NULL,
    0x03, 0x01, 0x80, 0xd2,                 // mov x3, 8               8
    0xc8, 0x10, 0x80, 0xd2,                 // mov x8, 134
    0x01, 0x00, 0x00, 0xd4,                 // svc 0                 )
    0x00, 0x00, 0x80, 0xd2,                 // mov x0, 0             rt_sigprocmask(SIG_BLOCK,
    0xa1, 0x02, 0x00, 0x10,                 // adr x1, +84             &signals, NULL, 8
    0xe8, 0x10, 0x80, 0xd2,                 // mov x8, 135
    0x01, 0x00, 0x00, 0xd4,                 // svc 0                 )
    0x40, 0x02, 0x00, 0x10,                 // adr x0, +72           wait: rt_sigtimedwait(&signals,
    0x01, 0x00, 0x80, 0xd2,                 // mov x1, 0               NULL, NULL, 8
    0x28, 0x11, 0x80, 0xd2,                 // mov x8, 137
    0x01, 0x00, 0x00, 0xd4,                 // svc 0                 )
    0x80, 0xff, 0xff, 0xb7,                 // tbnz x0, 63, wait     interrupted: wait again
    0x00, 0x00, 0x80, 0xd2,                 // mov x0, 0             exit_group(0
    0xc8, 0x0b, 0x80, 0xd2,                 // mov x8, 94
    0x01, 0x00, 0x00, 0xd4,                 // svc 0                 )
    0x1f, 0x20, 0x03, 0xd5,                 // nop
    0x1f, 0x20, 0x03, 0xd5,                 // nop
];

/// The kernel's `struct sigaction` for SIG_IGN, 32 bytes, and the set {SIGINT, SIGTERM}.
#[rustfmt::skip]
const DATA: &[u8] = &[
    1, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0,
    0x02, 0x40, 0, 0, 0, 0, 0, 0,
];

/// The whole program as a static ELF executable.
pub(super) fn program(arch: Arch) -> Vec<u8> {
    let (machine, page) = arch.machine();
    let size = (HEADERS + arch.code().len() + DATA.len()) as u64;
    let mut elf = Vec::with_capacity(256);
    elf.extend(*b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0"); // 64 bit, little-endian, System V
    elf.extend(2u16.to_le_bytes()); // executable
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    elf.extend((BASE + HEADERS as u64).to_le_bytes()); // entry
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes()); // no sections
    elf.extend(0u32.to_le_bytes()); // flags
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes()); // sizes and counts of the headers
    }
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(5u32.to_le_bytes()); // readable, executable
    for word in [0, BASE, BASE, size, size, page] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(arch.code());
    elf.extend(DATA);
    elf
}
