//! Owns the image of the sandbox container: a program of some hundred bytes that holds a pod's namespaces open,
//! written here as machine code with its assembly beside it, and the archive in which an engine loads it.
//! Never talks to the engine: `docker::images` loads what is built here.
//!
//! The program, as process 1 of the pod's shared namespaces, does three things and nothing else:
//! - sets SIGCHLD to "ignore", so that the kernel reaps every orphan by itself (a shared PID namespace leaves no
//!   zombies);
//! - blocks SIGTERM and SIGINT and waits for them (blocked signals reach even process 1, which otherwise loses signals
//!   that it has no handler for);
//! - exits with 0 when one comes.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Name under which the image is loaded; the number rises with the program.
pub const SANDBOX_IMAGE: &str = "jobdock/sandbox:1";

/// Path of the program in the image.
const PROGRAM_PATH: &str = "pause";
/// Nobody in particular: the program needs no rights.
const PROGRAM_USER: &str = "65535:65535";
/// Where the program is mapped; any page-aligned address well above zero does.
const LOAD_ADDRESS: u64 = 0x0040_0000;
/// Size of the ELF header, which names the one program header behind it.
const ELF_HEADER: u64 = 64;
/// Size of a program header.
const PROGRAM_HEADER: u64 = 56;

/// x86_64 code. Data sits behind it: `set` (SIGINT | SIGTERM as bits 1 and 14), `ignore` (a kernel `sigaction`).
#[rustfmt::skip]
const X86_64: &[u8] = &[
    0xb8, 0x0d, 0x00, 0x00, 0x00,               //       mov  eax, 13          ; rt_sigaction
    0xbf, 0x11, 0x00, 0x00, 0x00,               //       mov  edi, 17          ; SIGCHLD
    0x48, 0x8d, 0x35, 0x3f, 0x00, 0x00, 0x00,   //       lea  rsi, [rip+ignore]
    0x31, 0xd2,                                 //       xor  edx, edx         ; the old action is not wanted
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00,         //       mov  r10d, 8          ; bytes in a signal set
    0x0f, 0x05,                                 //       syscall
    0xb8, 0x0e, 0x00, 0x00, 0x00,               //       mov  eax, 14          ; rt_sigprocmask
    0x31, 0xff,                                 //       xor  edi, edi         ; SIG_BLOCK
    0x48, 0x8d, 0x35, 0x1f, 0x00, 0x00, 0x00,   //       lea  rsi, [rip+set]
    0x0f, 0x05,                                 //       syscall
    0xb8, 0x80, 0x00, 0x00, 0x00,               // wait: mov  eax, 128         ; rt_sigtimedwait
    0x48, 0x8d, 0x3d, 0x11, 0x00, 0x00, 0x00,   //       lea  rdi, [rip+set]
    0x31, 0xf6,                                 //       xor  esi, esi         ; no details; edx: no time limit
    0x0f, 0x05,                                 //       syscall
    0x85, 0xc0,                                 //       test eax, eax
    0x78, 0xec,                                 //       js   wait             ; interrupted by something else
    0xb8, 0xe7, 0x00, 0x00, 0x00,               //       mov  eax, 231         ; exit_group
    0x31, 0xff,                                 //       xor  edi, edi
    0x0f, 0x05,                                 //       syscall
    0x02, 0x40, 0, 0, 0, 0, 0, 0,               // set:  .quad 0x4002
    1, 0, 0, 0, 0, 0, 0, 0,                     // ignore: .quad SIG_IGN
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; flags
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; restorer
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; mask
];

/// aarch64 code, the same steps.
#[rustfmt::skip]
const AARCH64: &[u8] = &[
    0xc8, 0x10, 0x80, 0xd2,                     //       mov  x8, 134          ; rt_sigaction
    0x20, 0x02, 0x80, 0xd2,                     //       mov  x0, 17           ; SIGCHLD
    0x41, 0x02, 0x00, 0x10,                     //       adr  x1, ignore
    0x02, 0x00, 0x80, 0xd2,                     //       mov  x2, 0            ; the old action is not wanted
    0x03, 0x01, 0x80, 0xd2,                     //       mov  x3, 8            ; bytes in a signal set
    0x01, 0x00, 0x00, 0xd4,                     //       svc  0
    0xe8, 0x10, 0x80, 0xd2,                     //       mov  x8, 135          ; rt_sigprocmask
    0x00, 0x00, 0x80, 0xd2,                     //       mov  x0, 0            ; SIG_BLOCK
    0x41, 0x01, 0x00, 0x10,                     //       adr  x1, set
    0x01, 0x00, 0x00, 0xd4,                     //       svc  0
    0x28, 0x11, 0x80, 0xd2,                     // wait: mov  x8, 137          ; rt_sigtimedwait
    0xe0, 0x00, 0x00, 0x10,                     //       adr  x0, set
    0x01, 0x00, 0x80, 0xd2,                     //       mov  x1, 0            ; no details; x2: no time limit
    0x01, 0x00, 0x00, 0xd4,                     //       svc  0
    0x80, 0xff, 0xff, 0x37,                     //       tbnz w0, 31, wait     ; interrupted by something else
    0xc8, 0x0b, 0x80, 0xd2,                     //       mov  x8, 94           ; exit_group
    0x00, 0x00, 0x80, 0xd2,                     //       mov  x0, 0
    0x01, 0x00, 0x00, 0xd4,                     //       svc  0
    0x02, 0x40, 0, 0, 0, 0, 0, 0,               // set:  .quad 0x4002
    1, 0, 0, 0, 0, 0, 0, 0,                     // ignore: .quad SIG_IGN
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; flags
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; restorer
    0, 0, 0, 0, 0, 0, 0, 0,                     //       .quad 0               ; mask
];

/// The program as an executable, for `amd64` or `arm64` (Go's names); nothing for another processor.
pub fn program(architecture: &str) -> Option<Vec<u8>> {
    match architecture {
        "amd64" => Some(executable(62, X86_64)),
        "arm64" => Some(executable(183, AARCH64)),
        _ => None,
    }
}

/// The smallest honest ELF file: its header, one segment that maps the whole file for reading and running, the code.
fn executable(machine: u16, code: &[u8]) -> Vec<u8> {
    let headers = ELF_HEADER + PROGRAM_HEADER;
    let size = headers + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // 64 bit, little endian, version 1
    for half in [2, machine] {
        file.extend(half.to_le_bytes()); // executable; which processor
    }
    file.extend(1u32.to_le_bytes()); // version
    for word in [LOAD_ADDRESS + headers, ELF_HEADER, 0] {
        file.extend(word.to_le_bytes()); // entry point; offset of the program header; no section headers
    }
    file.extend(0u32.to_le_bytes()); // processor flags
    for half in [ELF_HEADER as u16, PROGRAM_HEADER as u16, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes()); // header sizes and counts: one program header, no sections
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes()); // a loaded segment, readable and executable
    }
    for word in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1_0000] {
        file.extend(word.to_le_bytes()); // offset, address (twice), size in file and memory, alignment (64 KiB pages)
    }
    file.extend(code);
    file
}

/// The image as `docker save` would write it, byte for byte the same each time; nothing for another processor than
/// `amd64` and `arm64`.
pub fn archive(architecture: &str) -> Option<Bytes> {
    let program = program(architecture)?;
    let layer = tar_of(&[(PROGRAM_PATH, 0o555, &program)]);
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Entrypoint": [format!("/{PROGRAM_PATH}")], "User": PROGRAM_USER, "StopSignal": "SIGTERM" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(&layer))] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "jobdock" }],
    })
    .to_string();
    let config_name = format!("{}.json", hex_digest(config.as_bytes()));
    let manifest = json!([{ "Config": config_name, "RepoTags": [SANDBOX_IMAGE], "Layers": ["layer.tar"] }]).to_string();
    Some(Bytes::from(tar_of(&[
        (&config_name, 0o444, config.as_bytes()),
        ("layer.tar", 0o444, &layer),
        ("manifest.json", 0o444, manifest.as_bytes()),
    ])))
}

fn tar_of(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        tar.append_data(&mut header, path, *content).expect("writing to memory cannot fail, and the names are short");
    }
    tar.into_inner().expect("writing to memory cannot fail")
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
