//! The keys that operators sign requests with. They are derived, not kept: from the gateway's key, the name and what the
//! password is checked against, so that another password makes another key.

use super::verifier::Verifier;
use super::{Credentials, Secret};
use crate::topics::{Role, Who};

impl Credentials {
    /// The key of an operator, and what the operator may do; none when there is none of that name, or the password is a
    /// foreign hash that is replaced at its first use.
    pub fn signing_key(&self, name: &str) -> Option<(Secret, Role)> {
        let known = self.get(name)?;
        let Who::Operator(role) = known.who else { return None };
        let verifier = match &*known.verifier {
            Verifier::Hmac(verifier) => Verifier::write_hmac(verifier),
            Verifier::Argon2(text) => text.clone(),
            Verifier::Pbkdf2 { .. } | Verifier::Sha512 { .. } | Verifier::Nothing => return None,
        };
        let key = self.key.as_ref()?.derive("control api signature", &[name, &verifier]);
        Some((Secret::of(key), role))
    }
}
