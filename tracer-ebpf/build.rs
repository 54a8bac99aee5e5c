//! Tells the compiler for which architecture the kernel's structs are laid out, and the linker,
//! which generates the code, how to lay out loops.

fn main() -> aya_build::Result<()> {
    // A layout for speed may let the end of a loop fall through to its beginning. The verifier of
    // Linux 5.10 wants a jump there, and takes anything else for an infinite loop.
    println!("cargo::rustc-link-arg=--llvm-args=-disable-block-placement");
    aya_build::emit_bpf_target_arch_cfg()
}
