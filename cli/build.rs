//! How the binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // At a fixed place, as Go's binaries are: nothing has to be relocated at the start, which would read
    // the list of what to relocate and write to half a thousand pages that otherwise stay as they are in
    // the file. Stacks, heap and libraries still lie anywhere.
    let is = |name: &str, value: &str| std::env::var(name).as_deref() == Ok(value);
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let crt_static = features.split(',').any(|feature| feature == "crt-static");
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && !crt_static {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
