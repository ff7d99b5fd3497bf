//! The names of the dialects: protocols of devices, by which records, topics and messages say whose they are.

/// Voxgate's own.
pub const NATIVE: &str = "native";

/// That of OpenCane's devices.
pub const OPENCANE: &str = "opencane";

/// That of stock xiaozhi firmware.
pub const XIAOZHI: &str = "xiaozhi";
