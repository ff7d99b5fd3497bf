//! What `build.rs` made of `schemas/voxgate.proto`. Only this folder sees it: outside are domain values.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code; the schema has the docs")]

include!(concat!(env!("OUT_DIR"), "/voxgate.v1.rs"));
