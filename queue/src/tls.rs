//! Whom to trust and what to show of oneself in TLS. Certificates are read when they are given, and
//! the system's on the first connection. Opens no connection.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, crypto};
use rustls_native_certs::CertificateResult;

use crate::Error;
use crate::shared::lock;

/// TLS as an endpoint wants it. Clones share what was read.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// The system's if none.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
    config: Arc<Mutex<Option<Arc<ClientConfig>>>>,
}

impl Tls {
    /// Trusts nobody: for finding out whether a server speaks TLS at all.
    pub(crate) fn distrustful() -> Self {
        Self {
            roots: Some(Arc::new(RootCertStore::empty())),
            ..Self::default()
        }
    }

    /// Trusts these certificates instead of the system's.
    pub(crate) fn with_ca(&self, pem: &[u8]) -> Result<Self, Error> {
        let refused = |rule: String| Error::invalid("ca", "(PEM)", rule);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem).map_err(refused)? {
            roots
                .add(certificate)
                .map_err(|fault| refused(format!("a certificate in it is of no use: {fault}")))?;
        }
        Ok(Self {
            roots: Some(Arc::new(roots)),
            identity: self.identity.clone(),
            config: Arc::default(),
        })
    }

    /// Shows this certificate to the server.
    pub(crate) fn with_client_cert(&self, cert: &[u8], key: &[u8]) -> Result<Self, Error> {
        let refused = |rule: String| Error::invalid("client certificate", "(PEM)", rule);
        let chain = certificates(cert).map_err(refused)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|fault| refused(format!("its key cannot be read: {fault}")))?;
        let identity = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|fault| refused(format!("it and its key are of no use: {fault}")))?;
        Ok(Self {
            roots: self.roots.clone(),
            identity: Some(Arc::new(identity)),
            config: Arc::default(),
        })
    }

    /// What a connection needs; or why there is none.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut made = lock(&self.config);
        if let Some(config) = &*made {
            return Ok(Arc::clone(config));
        }
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => Arc::new(system_roots(rustls_native_certs::load_native_certs())?),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|fault| fault.to_string())?
            .with_root_certificates(roots);
        let config = Arc::new(match &self.identity {
            Some(identity) => {
                let identity = SingleCertAndKey::from(Arc::clone(identity));
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        });
        *made = Some(Arc::clone(&config));
        Ok(config)
    }

    /// Has the system's certificates read again: they may have been renewed.
    pub(crate) fn forget(&self) {
        *lock(&self.config) = None;
    }
}

/// The program's, if it has chosen one.
fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(chosen) => Arc::clone(chosen),
        None => Arc::new(crypto::ring::default_provider()),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|fault| format!("it is not PEM: {fault}"))?;
    if certificates.is_empty() {
        return Err("it holds no -----BEGIN CERTIFICATE-----".to_owned());
    }
    Ok(certificates)
}

fn system_roots(found: CertificateResult) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let mut reason = String::from(
        "there is no CA certificate on this machine; install the package ca-certificates, or give \
         the server's CA with Endpoint::with_ca",
    );
    for error in found.errors {
        let _ = write!(reason, "; {error}");
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_certificates_is_told_what_to_install() {
        let reason = system_roots(CertificateResult::default()).unwrap_err();
        assert!(
            reason.contains("ca-certificates") && reason.contains("with_ca"),
            "{reason}"
        );
    }
}
