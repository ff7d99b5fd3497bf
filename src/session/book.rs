//! A session's records: what is written of it, in which batch, and what is read back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::history::History;
use super::turn::TtsMode;
use super::window::{Verdict, Window};
use super::Settings;
use crate::domain::{AckMarks, Clock, DeviceId, HelloAck, ListenMode, Message, SessionId, Stream, Wall};
use crate::lifelog::{self, Kind};
use crate::store::records::{inbox, outbox, session};
use crate::store::{Batch, Key, Store, StoreError};
