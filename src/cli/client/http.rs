//! HTTP clients that work where they can: without certificates of authorities a machine still speaks plain http.
use super::agent::causes;
use reqwest::{Client, ClientBuilder, Url};

/// Makes a client for `url`. For http it trusts nobody's certificate and needs none on this machine.
pub fn client(url: &Url, builder: ClientBuilder) -> Result<Client, String> {
    // The provider is process-wide and set once; a second call finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if url.scheme() != "https" {
        return builder.tls_certs_only([]).build().map_err(|e| causes(&e));
    }
    builder.build().map_err(|e| {
        format!(
            "https needs certificates of authorities, and this machine has none that can be used ({}): \
             install the package ca-certificates, or name them by SSL_CERT_FILE",
            causes(&e)
        )
    })
}
