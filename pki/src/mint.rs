//! The only source of randomness: keys and serial numbers. Everything else in the crate is a
//! function of its arguments.

use rand::RngCore as _;

use crate::{Error, KeyAlgorithm};

/// A source of keys and serial numbers; tests inject their own.
pub trait Mint: Send + Sync {
    /// A key pair that was never used before.
    fn key(&self, algorithm: KeyAlgorithm) -> Result<rcgen::KeyPair, Error>;

    /// A serial number that was never used before, big-endian. Its two top bits are overwritten
    /// on issuing: 0, so that it is positive, then 1, so that it always takes 16 bytes.
    fn serial(&self) -> [u8; 16];
}

/// The real mint: keys from aws-lc-rs, serial numbers from the operating system's seeded
/// generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomMint;

impl Mint for RandomMint {
    fn key(&self, algorithm: KeyAlgorithm) -> Result<rcgen::KeyPair, Error> {
        algorithm.generate().map_err(Error::Key)
    }

    fn serial(&self) -> [u8; 16] {
        let mut serial = [0; 16];
        rand::rng().fill_bytes(&mut serial);
        positive(serial)
    }
}

/// Draws a serial number that DER writes in exactly 16 bytes.
pub(crate) fn serial(mint: &dyn Mint) -> rcgen::SerialNumber {
    rcgen::SerialNumber::from_slice(&positive(mint.serial()))
}

fn positive(mut serial: [u8; 16]) -> [u8; 16] {
    serial[0] = serial[0] & 0b0111_1111 | 0b0100_0000;
    serial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_positive_and_sixteen_bytes_long_whatever_was_drawn() {
        let mut lowest = [0; 16];
        lowest[0] = 0x40;
        let mut highest = [0xff; 16];
        highest[0] = 0x7f;
        assert_eq!(positive([0; 16]), lowest);
        assert_eq!(positive([0xff; 16]), highest);
    }

    #[test]
    fn the_real_mint_repeats_neither_serials_nor_keys() {
        assert_ne!(RandomMint.serial(), RandomMint.serial());
        let [one, other] = [(); 2].map(|()| RandomMint.key(KeyAlgorithm::P256).unwrap());
        assert_ne!(one.public_key_raw(), other.public_key_raw());
        assert!(one.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256));
    }
}
