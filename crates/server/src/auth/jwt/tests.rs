//! `testdata` holds keys made for these tests, and tokens that real etcd signed with them (3.5.30;
//! those of EdDSA and HS 3.7.1), good for an hour.

use super::*;

/// When the tokens of real etcd were good.
const THEN: Duration = Duration::from_secs(1_795_253_123);

fn file(name: &str) -> io::Result<Vec<u8>> {
    std::fs::read(format!("{}/src/auth/jwt/testdata/{name}", env!("CARGO_MANIFEST_DIR")))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').and_then(|text| text.parse().ok());
    seconds.map(Duration::from_secs).ok_or_else(|| "no time".to_owned())
}

/// A provider by `name=value` words.
fn provider(words: &str) -> Result<Jwt, OptionsError> {
    let options = words.split(' ').filter_map(|word| word.split_once('='));
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Jwt::new(&options, ttl, file)
}

fn who() -> Identity {
    Identity { user: "alice".into(), revision: 7 }
}

/// Every method with its private and its public key.
const METHODS: [(&str, &str, &str); 13] = [
    ("RS256", "rsa_pkcs1.pem", "rsa_pub.pem"),
    ("RS384", "rsa_pkcs8.pem", "rsa_pub_pkcs1.pem"),
    ("RS512", "rsa_pkcs8.pem", "rsa_cert.pem"),
    ("PS256", "rsa_pkcs1.pem", "rsa_pub.pem"),
    ("PS384", "rsa_pkcs8.pem", "rsa_pub.pem"),
    ("PS512", "rsa_pkcs8.pem", "rsa_pub.pem"),
    ("ES256", "p256_sec1.pem", "p256_pub.pem"),
    ("ES384", "p384_pkcs8.pem", "p384_pub.pem"),
    ("ES512", "p521_sec1.pem", "p521_pub.pem"),
    ("EdDSA", "ed_pkcs8.pem", "ed_pub.pem"),
    ("HS256", "hs.key", ""),
    ("HS384", "hs.key", ""),
    ("HS512", "hs.key", ""),
];

#[test]
fn tokens_of_every_method_are_read_by_every_member() {
    for (method, private, public) in METHODS {
        let both = format!("sign-method={method} priv-key={private} pub-key={public}");
        let signer = provider(&both).unwrap_or_else(|error| panic!("{method}: {error}"));
        assert!(!signer.is_verify_only());
        let token = signer.sign(&who(), THEN);
        assert_eq!(signer.verify(&token, THEN).as_ref(), Some(&who()), "{method}");
        if public.is_empty() {
            continue;
        }
        let reader = provider(&format!("sign-method={method} pub-key={public}")).unwrap();
        assert!(reader.is_verify_only());
        assert_eq!(reader.verify(&token, THEN).as_ref(), Some(&who()), "{method}");
    }
}

#[test]
fn tokens_of_real_etcd_are_read() {
    let tokens = String::from_utf8(file("tokens.txt").unwrap()).unwrap();
    let mut read = 0;
    for line in tokens.lines() {
        let (method, token) = line.split_once(' ').unwrap();
        let (_, private, _) = METHODS.iter().find(|(name, ..)| *name == method).unwrap();
        let jwt = provider(&format!("sign-method={method} priv-key={private}")).unwrap();
        let who = jwt.verify(token, THEN).unwrap_or_else(|| panic!("{method} is not read"));
        assert_eq!((&who.user[..], who.revision), ("root", 3), "{method}");
        assert_eq!(jwt.verify(token, THEN + Duration::from_secs(7200)), None, "{method}: ended");
        read += 1;
    }
    assert_eq!(read, METHODS.len());
}

#[test]
fn what_is_not_ours_is_refused() {
    let jwt = provider("sign-method=ES256 priv-key=p256_sec1.pem").unwrap();
    let token = jwt.sign(&who(), THEN);
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        // Bits beyond the last byte of a part are no part of it: decoders differ about them.
        let beyond = at + 1 == token.len() || token.as_bytes()[at + 1] == b'.';
        assert!(beyond || jwt.verify(&other, THEN).is_none(), "{at}");
    }
    for bad in ["", ".", "..", "a.b.c", "a.1", &format!("{token}.x"), &token[..token.len() - 9]] {
        assert_eq!(jwt.verify(bad, THEN), None, "{bad}");
    }
    let other_hash = provider("sign-method=HS256 priv-key=hs.key").unwrap();
    assert_eq!(other_hash.verify(&token, THEN), None);
}

/// The name of a method in a token decides nothing: a public key is never taken for a secret, and
/// no signature is no signature.
#[test]
fn the_tokens_own_method_is_not_trusted() {
    let jwt = provider("sign-method=RS256 priv-key=rsa_pkcs1.pem").unwrap();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = encode("{\"username\":\"root\",\"revision\":9,\"exp\":99999999999}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &file("rsa_pub.pem").unwrap());
    for alg in ["none", "HS256", "RS256"] {
        let signed = format!("{}.{claims}", encode(&format!("{{\"alg\":\"{alg}\"}}")));
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        assert_eq!(jwt.verify(&format!("{signed}.{mac}"), THEN), None, "{alg}");
        assert_eq!(jwt.verify(&format!("{signed}."), THEN), None, "{alg}");
    }
}

#[test]
fn tokens_end() {
    let jwt = provider("sign-method=HS256 priv-key=hs.key ttl=10s").unwrap();
    let token = jwt.sign(&who(), THEN);
    assert!(jwt.verify(&token, THEN + Duration::from_millis(9999)).is_some());
    assert!(jwt.verify(&token, THEN + Duration::from_secs(10)).is_none());
}

#[test]
fn claims_are_judged_as_etcd_judges_them() {
    let jwt = provider("sign-method=HS256 priv-key=hs.key").unwrap();
    let Keys::Secret(key) = &jwt.keys else { panic!("a secret") };
    let verify = |claims: &str| {
        let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}");
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
        jwt.verify(&format!("{signed}.{mac}"), Duration::from_secs(1000)).map(|who| who.revision)
    };
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5}"), Some(5), "without an end");
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5.9,\"exp\":0}"), Some(5));
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5,\"exp\":1000.9}"), None);
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5,\"nbf\":1001}"), None);
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5,\"nbf\":1000,\"iat\":2000}"), Some(5));
    assert_eq!(verify("{\"username\":\"a\",\"revision\":5,\"exp\":\"2000\"}"), None);
    assert_eq!(verify("{\"username\":\"a\",\"revision\":\"5\"}"), None);
    assert_eq!(verify("{\"username\":1,\"revision\":5}"), None);
    assert_eq!(verify("{\"revision\":5}"), None);
    assert_eq!(verify("{\"username\":\"a\"}"), None);
    assert_eq!(verify("[]"), None);
}

#[test]
fn keys_come_in_many_forms() {
    let curves =
        ["sign-method=ES256 priv-key=p256_pkcs8.pem", "sign-method=ES512 priv-key=p521_pkcs8.pem"];
    for words in curves {
        let jwt = provider(words).unwrap();
        assert!(jwt.verify(&jwt.sign(&who(), THEN), THEN).is_some());
    }
    // A private key may leave its public part out.
    let words = "sign-method=ES256 priv-key=p256_nopub.pem";
    assert!(provider(words).is_err());
    let jwt = provider(&format!("{words} pub-key=p256_pub.pem")).unwrap();
    assert!(jwt.verify(&jwt.sign(&who(), THEN), THEN).is_some());
}

#[test]
fn bad_options_are_refused() {
    let refused = |words: &str| provider(words).err().expect("refused").to_string();
    assert_eq!(refused("sign-method=RS256"), "auth: missing key data");
    assert_eq!(refused("sign-method=HS256 pub-key=rsa_pub.pem"), "auth: missing key data");
    for bad in [
        "priv-key=hs.key",
        "sign-method=none priv-key=hs.key",
        "sign-method=HS256 priv-key=no_such_file",
        "sign-method=HS256 priv-key=hs.key ttl=soon",
    ] {
        assert_eq!(refused(bad), "auth: invalid auth options", "{bad}");
    }
    let mismatch = "sign-method=RS256 priv-key=rsa_pkcs1.pem pub-key=rsa_other_pub.pem";
    assert_eq!(refused(mismatch), "auth: public and private keys don't match");
    for bad in [
        "sign-method=RS256 priv-key=hs.key",
        "sign-method=RS256 priv-key=p256_sec1.pem",
        "sign-method=RS256 pub-key=p256_pub.pem",
        "sign-method=ES256 priv-key=p384_pkcs8.pem",
        "sign-method=ES256 pub-key=p521_pub.pem",
        "sign-method=EdDSA pub-key=rsa_pub.pem",
        "sign-method=EdDSA priv-key=p256_pkcs8.pem",
    ] {
        assert!(refused(bad).contains("holds no key for"), "{bad}");
    }
}

/// No part of a broken file is followed out of its bounds.
#[test]
fn broken_keys_are_refused_in_peace() {
    for name in ["rsa_pkcs8.pem", "p256_sec1.pem", "p521_pkcs8.pem", "ed_pkcs8.pem", "rsa_cert.pem"]
    {
        let der = der::first_pem(&file(name).unwrap()).unwrap();
        let pem = |der: &[u8]| {
            let body = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN X-----\n{body}\n-----END X-----\n").into_bytes()
        };
        let try_all = |file: &[u8]| {
            let _ = keys::rsa_private(file);
            let _ = keys::rsa_public(file);
            let _ = keys::ed_private(file);
            let _ = keys::ed_public(file);
            for curve in [Curve::P256, Curve::P384, Curve::P521] {
                let _ = keys::ec_private(file, curve, None);
                let _ = keys::ec_public(file, curve);
            }
        };
        for at in 0..der.len().min(80) {
            try_all(&pem(&der[..at]));
            let mut broken = der.clone();
            for value in [0, 0x7f, 0x84, 0xff] {
                broken[at] = value;
                try_all(&pem(&broken));
            }
        }
    }
    assert_eq!(der::first_pem(b"-----BEGIN X-----\n"), None);
    assert_eq!(der::first_pem(b"\xff-----BEGIN X-----\nAA==\n-----END X-----"), None);
}
