//! Tells the compiler which architecture the kernel's structs are laid out for, and
//! the linker, which compiles, how to lay out loops.

fn main() -> aya_build::Result<()> {
    // Laid out for speed, the end of a loop may fall through to its beginning, which
    // the verifier of Linux 5.10 takes for a loop without an end: it wants a jump.
    println!("cargo::rustc-link-arg=--llvm-args=-disable-block-placement");
    aya_build::emit_bpf_target_arch_cfg()
}
