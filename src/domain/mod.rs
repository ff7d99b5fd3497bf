//! The values that travel through Voxgate: ids, uplinks, downlinks, audio and time.
//!
//! Nothing here does I/O and nothing here knows a transport, a dialect or a store. Every
//! other room may import this one; it imports none of ours.

mod audio;
mod clock;
mod current;
mod datagram;
pub mod dialect;
mod downlink;
pub mod english;
mod event;
mod id;
pub mod language;
mod link;
mod policy;
mod units;
mod uplink;
mod vision;

pub use audio::{AudioPacket, Codec, DOWN_FRAME_MS, DOWN_RATE, OpusFrame, UP_RATE};
pub use clock::{Clock, ManualClock, SystemClock, Wall};
pub use current::Current;
pub use datagram::{Arrivals, Datagrams, MediaOffer};
pub use downlink::{AckMarks, Downlink, HapticPattern, HelloAck, Message, SpokenFrame, StopReason};
pub use event::{Event, EventKind};
pub use id::{DeviceId, IdError, ImageId, LinkId, SessionId, TurnId};
pub use link::{
    Bulletins, Commands, DownlinkSink, Ingress, Link, LinkPacket, NoRoom, PacketKind, QoS, Receipt, Refusal, SendError,
    Settled,
};
pub use policy::{Audit, Level, Policy, Profile};
pub use units::{ByteSize, Problem, Span};
pub use uplink::{
    Body, Control, ControlKind, Hello, ImagePart, ImageUpload, ListenMode, Origin, Path, Raw, Stream, Telemetry, Uplink,
};
pub use vision::{Photo, PhotoPass, Photos, Sight, Unseen};
