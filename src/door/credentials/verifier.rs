//! What a password is checked against: one text in the record, in one of five schemes.
//!
//! `hmac-sha256$…` for secrets of 256 bits that the gateway made (microseconds; only with the gateway's key),
//! `$argon2id$…` for passwords that people chose, and mosquitto's `$7$…` (PBKDF2-HMAC-SHA-512) and `$6$…` (salted
//! SHA-512, one round), which are replaced by argon2id when they are first used. An empty text fits no password.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use super::CredentialsError;

/// How verifiers of generated secrets begin.
const HMAC: &str = "hmac-sha256$";
/// Memory of one argon2id hash, in KiB.
pub(super) const MEMORY_KIB: u32 = 19 << 10;
/// Passes over it.
const PASSES: u32 = 2;
/// Dearest foreign argon2id hash that is taken: memory in KiB, passes.
const DEAREST: (u32, u32) = (64 << 10, 16);
/// Most rounds of a foreign PBKDF2 hash; mosquitto's own are 101 unless told otherwise.
const MOST_ROUNDS: u32 = 1_000_000;
/// Longest foreign salt, in bytes.
const LONGEST_SALT: usize = 128;

/// A verifier, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verifier {
    /// Of a secret that the gateway made.
    Hmac([u8; 32]),
    /// Of a password that somebody chose, as a PHC string.
    Argon2(String),
    /// mosquitto's `$7$`.
    Pbkdf2 { rounds: u32, salt: Vec<u8>, hash: Vec<u8> },
    /// mosquitto's `$6$`.
    Sha512 { salt: Vec<u8>, hash: Vec<u8> },
    /// Nothing fits.
    Nothing,
}

/// What a slow check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checked {
    /// It does not fit.
    Wrong,
    /// It fits.
    Right,
    /// It fits, and this is to stand in the place of the old verifier.
    Renewed(String),
}

impl Verifier {
    /// Reads one; none when it is none of ours and none of mosquitto's.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Nothing);
        }
        if let Some(mac) = text.strip_prefix(HMAC) {
            return Some(Self::Hmac(STANDARD.decode(mac).ok()?.try_into().ok()?));
        }
        if text.starts_with("$argon2id$") {
            return affordable(text).then(|| Self::Argon2(text.to_owned()));
        }
        let mut parts = text.strip_prefix('$')?.split('$');
        match parts.next()? {
            "7" => {
                let rounds = parts.next()?.parse().ok().filter(|r| (1..=MOST_ROUNDS).contains(r))?;
                let (salt, hash) = salted(parts)?;
                Some(Self::Pbkdf2 { rounds, salt, hash })
            }
            "6" => {
                let (salt, hash) = salted(parts)?;
                Some(Self::Sha512 { salt, hash })
            }
            _ => None,
        }
    }

    /// The text of a verifier of a generated secret.
    pub(super) fn write_hmac(verifier: &[u8; 32]) -> String {
        format!("{HMAC}{}", STANDARD.encode(verifier))
    }

    /// Is it of a secret that the gateway made.
    pub(super) fn is_hmac(&self) -> bool {
        matches!(self, Self::Hmac(_))
    }

    /// Must it be checked on a thread of its own.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Argon2(_) | Self::Pbkdf2 { .. } | Self::Sha512 { .. })
    }

    /// Checks a chosen password: tens of milliseconds of a core, in constant time. Never on the runtime.
    pub(super) fn check(&self, password: &[u8]) -> Checked {
        let fits = match self {
            Self::Argon2(phc) => {
                let right = PasswordHash::new(phc).is_ok_and(|hash| argon2(password, &hash));
                return if right { Checked::Right } else { Checked::Wrong };
            }
            Self::Pbkdf2 { rounds, salt, hash } => {
                let mut made = [0_u8; 64];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut made);
                bool::from(made[..].ct_eq(hash))
            }
            Self::Sha512 { salt, hash } => {
                let made = Sha512::new().chain_update(password).chain_update(salt).finalize();
                bool::from(made[..].ct_eq(hash))
            }
            Self::Hmac(_) | Self::Nothing => false,
        };
        if !fits {
            return Checked::Wrong;
        }
        hash(password).map_or(Checked::Right, Checked::Renewed)
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn argon2(password: &[u8], hash: &PasswordHash) -> bool {
    hasher().verify_password(password, hash).is_ok()
}

/// Hashes a chosen password (argon2id, a salt of its own): tens of milliseconds of a core. Never on the runtime.
pub(super) fn hash(password: &[u8]) -> Result<String, CredentialsError> {
    let mut salt = [0_u8; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut salt).map_err(|_| CredentialsError::Random)?;
    let hash = hasher().hash_password_with_salt(password, &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| CredentialsError::Hash(error.to_string()))
}

/// A PHC string of argon2id that does not ask for more than we give for one attempt.
fn affordable(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let Ok(params) = Params::try_from(&hash) else { return false };
    hash.salt.is_some() && hash.hash.is_some() && params.m_cost() <= DEAREST.0 && params.t_cost() <= DEAREST.1
}

/// The salt and the hash of 64 bytes that end one of mosquitto's.
fn salted<'a>(mut parts: impl Iterator<Item = &'a str>) -> Option<(Vec<u8>, Vec<u8>)> {
    let salt = STANDARD.decode(parts.next()?).ok()?;
    let hash = STANDARD.decode(parts.next()?).ok()?;
    let whole = parts.next().is_none() && hash.len() == 64 && !salt.is_empty() && salt.len() <= LONGEST_SALT;
    whole.then_some((salt, hash))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Made by `mosquitto_passwd` 2.0.11.
    const ANNA: &str = "$7$101$GgpN2FxsTQ6GQO9h$UCpAbfarcDXYDhK7ksXFuNOSzFj79BvzVA0caRhRs5moiCSLjzDb5aTgtwHoG4IuR4JIV5q1TOJ7aEMP1FDrPw==";

    fn renewed(text: &str, password: &[u8]) -> String {
        match Verifier::parse(text).unwrap().check(password) {
            Checked::Renewed(phc) => phc,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hash_of_mosquitto_is_verified_as_it_is_and_renewed() {
        assert_eq!(Verifier::parse(ANNA).unwrap().check(b"secret-of-bert"), Checked::Wrong);
        let phc = renewed(ANNA, b"secret-of-anna");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let verifier = Verifier::parse(&phc).unwrap();
        assert_eq!(verifier.check(b"secret-of-anna"), Checked::Right);
        assert_eq!(verifier.check(b"secret-of-Anna"), Checked::Wrong);
        assert_eq!(verifier.check(b""), Checked::Wrong);
    }

    #[test]
    fn the_older_hash_of_mosquitto_too() {
        let hash = Sha512::new().chain_update(b"hush hush hush").chain_update(b"pepper").finalize();
        let text = format!("$6${}${}", STANDARD.encode("pepper"), STANDARD.encode(hash));
        assert_eq!(Verifier::parse(&text).unwrap().check(b"hush hush"), Checked::Wrong);
        renewed(&text, b"hush hush hush");
    }

    #[test]
    #[ignore = "a measurement, for docs/decisions/03-credentials.md"]
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    fn what_a_check_costs() {
        let phc = Verifier::parse(&hash(b"correct horse").unwrap()).unwrap();
        let anna = Verifier::parse(ANNA).unwrap();
        let key = crate::door::credentials::key::GatewayKey::make(&tempfile::tempdir().unwrap().path().join("k"));
        let key = key.unwrap();
        let median = |what: &str, work: &dyn Fn()| {
            let time = |_| {
                let begun = std::time::Instant::now();
                work();
                begun.elapsed()
            };
            let mut times: Vec<_> = (0..51).map(time).collect();
            times.sort();
            println!("{what}: median {:?}, p90 {:?} of 51", times[25], times[45]);
        };
        median("argon2id, 19 MiB, t=2, p=1", &|| assert_eq!(phc.check(b"correct horse"), Checked::Right));
        median("$7$, 101 rounds, a wrong password", &|| assert_eq!(anna.check(b"wrong"), Checked::Wrong));
        median("hmac-sha256", &|| assert_ne!(key.verifier("cane-1", b"a secret"), [0; 32]));
    }

    #[test]
    fn the_same_password_twice_is_two_hashes() {
        assert_ne!(hash(b"correct horse").unwrap(), hash(b"correct horse").unwrap());
    }

    #[test]
    fn what_is_no_verifier_or_costs_too_much_is_none() {
        let dear = hash(b"x").unwrap().replace("m=19456", "m=4194304");
        for bad in [
            "plain",
            "$7$",
            "$7$101$$",
            "$7$0$c2FsdA==$aGFzaA==",
            "$7$101$c2FsdA==$aGFzaA==",
            "$5$c2FsdA==$aGFzaA==",
            "$1$abc",
            "hmac-sha256$short",
            "$argon2id$v=19$nonsense",
            "$argon2id$",
            dear.as_str(),
            ANNA.replace("$101$", "$1000001$").as_str(),
        ] {
            assert!(Verifier::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Verifier::parse("").unwrap().check(b""), Checked::Wrong, "no verifier fits no password");
    }
}
