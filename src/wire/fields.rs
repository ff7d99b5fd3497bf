//! Fields out of a JSON object, each with an error that names the field and not its content.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::WireError;
use crate::domain::ImageId;

/// An object whose fields are taken one by one; what is left over is ignored, so that newer peers are understood.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an object from text.
    pub(super) fn parse(text: &[u8], what: &'static str) -> Result<Self, WireError> {
        serde_json::from_slice(text).map(Self).map_err(|e| WireError::json(what, &e))
    }

    /// The object in the field `name`; none and null are an empty one.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Self, WireError> {
        match self.take(name) {
            None => Ok(Self::default()),
            Some(Value::Object(map)) => Ok(Self(map)),
            Some(_) => Err(WireError::malformed(name)),
        }
    }

    /// What has not been taken, as an object.
    pub(super) fn rest(self) -> Value {
        Value::Object(self.0)
    }

    /// Any value; null is none.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.swap_remove(name).filter(|v| !v.is_null())
    }

    /// Any value; none is null.
    pub(super) fn value(&mut self, name: &str) -> Value {
        self.take(name).unwrap_or(Value::Null)
    }

    /// A value of type `T`, or none.
    pub(super) fn opt<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|_| WireError::malformed(name)),
        }
    }

    /// A value of type `T` that has to be there.
    pub(super) fn need<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, WireError> {
        self.opt(name)?.ok_or_else(|| WireError::malformed(name))
    }

    /// A u32, or none. JSON knows no integers: `3.0` is 3.
    pub(super) fn u32(&mut self, name: &'static str) -> Result<Option<u32>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match whole(&value).map(u32::try_from) {
                Some(Ok(number)) => Ok(Some(number)),
                _ => Err(WireError::malformed(name)),
            },
        }
    }

    /// A u32 that has to be there.
    pub(super) fn need_u32(&mut self, name: &'static str) -> Result<u32, WireError> {
        self.u32(name)?.ok_or_else(|| WireError::malformed(name))
    }

    /// A time in ms. Some JSON writers put large whole numbers as `1.7e12`.
    pub(super) fn ms(&mut self, name: &'static str) -> Result<Option<u64>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => whole(&value).map(Some).ok_or_else(|| WireError::malformed(name)),
        }
    }

    /// An image id: a number, or 16 hex digits (numbers above 2^53 do not survive every JSON reader).
    pub(super) fn image_id(&mut self, name: &'static str) -> Result<Option<ImageId>, WireError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => image_id(&value).map(Some).ok_or_else(|| WireError::malformed(name)),
        }
    }
}

/// A whole number that is not negative, however it is written.
pub(super) fn whole(value: &Value) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
    value.as_u64().or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)).map(|f| f as u64))
}

fn image_id(value: &Value) -> Option<ImageId> {
    if let Some(text) = value.as_str() {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        return u64::from_str_radix(text, 16).ok().filter(|_| plain).map(ImageId);
    }
    whole(value).map(ImageId)
}
