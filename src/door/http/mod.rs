//! HTTP, two doors that share nothing but the protocol: the operators' own, and the one that devices begin at.

pub mod operators;
