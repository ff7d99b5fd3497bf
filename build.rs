//! Compiles `schemas/voxgate.proto`, without a protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=schemas/voxgate.proto");
    let files = protox::compile(["voxgate.proto"], ["schemas"])?;
    let mut config = prost_build::Config::new();
    // a telemetry map in the order of its names: the same message is always the same bytes
    config.btree_map(["."]);
    config.compile_fds(files)?;
    Ok(())
}
