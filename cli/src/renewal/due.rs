//! When a certificate is renewed, and how often that is tried. Pure.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The longest time between two looks, in seconds.
const PAUSE: i64 = 3600;

/// From when to when a certificate holds, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(super) begins: i64,
    pub(crate) ends: i64,
}

impl Life {
    /// Of the first certificate of a PEM file.
    pub(crate) fn of(pem: &[u8]) -> Option<Self> {
        Self::of_der(&CertificateDer::from_pem_slice(pem).ok()?)
    }

    /// Of this certificate.
    pub(crate) fn of_der(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self { begins: validity.not_before.timestamp(), ends: validity.not_after.timestamp() })
    }

    /// Once two thirds of it are over; one that has ended opens no door to be renewed at.
    pub(crate) fn is_due(self, now: i64) -> bool {
        self.is_old(now) && now <= self.ends
    }

    /// Once two thirds of it are over.
    pub(crate) fn is_old(self, now: i64) -> bool {
        let life = self.ends - self.begins;
        now >= self.begins + life / 3 * 2
    }
}

/// Whether it is long enough since the last look: an hour, and less for what lives for hours.
pub(super) fn may_look(life: Option<Life>, last: Option<i64>, now: i64) -> bool {
    let pause = life.map_or(PAUSE, |life| ((life.ends - life.begins) / 12).clamp(1, PAUSE));
    // A look in the future was by another clock.
    last.is_none_or(|last| now < last || now - last >= pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_from_two_thirds_of_its_life_until_its_end() {
        let life = Life { begins: 0, ends: 300 };
        for (now, due) in [(0, false), (199, false), (200, true), (300, true), (301, false)] {
            assert_eq!(life.is_due(now), due, "{now}");
        }
    }

    #[test]
    fn it_is_looked_at_once_an_hour_and_more_often_where_it_lives_for_hours() {
        let month = Some(Life { begins: 0, ends: 30 * 24 * 3600 });
        assert!(may_look(month, None, 5) && may_look(None, Some(0), 3600) && may_look(month, Some(9), 5));
        assert!(!may_look(month, Some(0), 3599) && may_look(month, Some(0), 3600));
        let hour = Some(Life { begins: 0, ends: 3600 });
        assert!(!may_look(hour, Some(0), 299) && may_look(hour, Some(0), 300));
    }
}
