//! Names what is wrong with a TLS certificate, for people.
use rustls::CertificateError;
use std::{error::Error, io};

/// `None`: the failure was not about TLS.
pub(super) fn complaint(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(words(tls));
        }
        // An io::Error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
        next = wrapped.map(|e| e as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else { return format!("{error}; check the server's TLS setup") };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it, or set this machine's clock if that is wrong".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; set this machine's clock".into()
        }
        CertificateError::UnknownIssuer => {
            "no known authority signed it; name yours in install.ca_file, or install ca-certificates".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host name; use the name that it was made for".into()
        }
        CertificateError::Revoked => "it was revoked; renew it".into(),
        other => format!("{other}; check the server's certificate"),
    }
}
