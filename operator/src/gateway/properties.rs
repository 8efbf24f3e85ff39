//! What holds for every spec that the API server lets through.

use std::collections::BTreeMap;

use portcullis_api::{
    AccessMode, Backend, BackendAuth, BackendMatch, CaBundleRef, Client, Driver, Drivers, Gateway,
    GatewaySpec, Oidc, ServiceTarget, Sidecar, SidecarTarget, Timeouts,
};
use proptest::prelude::*;
use time::Duration;

use super::golden::{NOW, carry_out, surroundings};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}"
}

fn client() -> impl Strategy<Value = Client> {
    (
        name(),
        proptest::option::of("[a-z]{1,8}@example.com"),
        proptest::collection::vec("[a-z]{1,6}", 0..3),
        24_u32..2000,
    )
        .prop_map(|(name, user, roles, hours)| Client {
            name,
            user,
            roles,
            scopes: None,
            revoke: Vec::new(),
            duration: format!("{hours}h"),
        })
}

fn backend() -> impl Strategy<Value = Backend> {
    (name(), any::<bool>(), any::<bool>(), 1..65535).prop_map(|(name, grpc, sidecar, port)| Backend {
        matches: BackendMatch {
            path_prefix: (!grpc).then(|| format!("/{name}")),
            grpc_service: grpc.then(|| format!("example.{name}")),
        },
        service: (!sidecar).then(|| ServiceTarget { name: "svc".to_owned(), port }),
        sidecar: sidecar.then_some(SidecarTarget { port }),
        protocol: None,
        timeouts: Timeouts::default(),
        forward_client_certificate: grpc,
        auth: BackendAuth::Required,
        requires: Vec::new(),
        name,
    })
}

fn oidc() -> impl Strategy<Value = Oidc> {
    proptest::option::of(name()).prop_map(|config_map| Oidc {
        ca_bundle_ref: config_map.map(|name| CaBundleRef { name, key: "ca.crt".to_owned() }),
        ..serde_json::from_value(
            serde_json::json!({ "issuer": "https://idp.example.com", "audience": "door" }),
        )
        .unwrap()
    })
}

fn drivers() -> impl Strategy<Value = Drivers> {
    proptest::option::of(name()).prop_map(|image| Drivers {
        compute: image.map(|image| Driver {
            sidecar: Some(Sidecar { image, ..Sidecar::default() }),
            socket_path: None,
        }),
        credentials: Some(Driver { sidecar: None, socket_path: Some("/run/vault.sock".to_owned()) }),
    })
}

fn gateway() -> impl Strategy<Value = Gateway> {
    let clients = proptest::collection::btree_map(name(), client(), 0..4);
    let backends = proptest::collection::btree_map(name(), backend(), 0..4);
    let hosts = proptest::collection::btree_set("[a-z]{1,8}[.]example[.]com", 0..3);
    let beyond = (any::<bool>(), proptest::option::of(oidc()), proptest::option::of(drivers()));
    (clients, backends, hosts, 0..4, beyond).prop_map(|(clients, backends, hosts, replicas, beyond)| {
        let (plaintext, oidc, drivers) = beyond;
        let mut spec = GatewaySpec { replicas, oidc, drivers, ..GatewaySpec::default() };
        if plaintext {
            spec.access.mode = AccessMode::Plaintext;
            spec.access.trusted_proxies = vec!["10.0.0.0/8".to_owned()];
        }
        spec.clients = clients.into_iter().map(|(name, client)| Client { name, ..client }).collect();
        spec.backends = backends.into_iter().map(|(name, backend)| Backend { name, ..backend }).collect();
        spec.pki.server.dns_names = hosts.into_iter().collect();
        let mut gateway = Gateway::new("door", spec);
        gateway.metadata.namespace = Some("shop".to_owned());
        gateway.metadata.uid = Some("c0ffee".to_owned());
        gateway.metadata.generation = Some(1);
        gateway
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn planning_what_was_carried_out_changes_nothing(gateway in gateway(), later in 0_i64..40) {
        let mut observed = surroundings(BTreeMap::from([("svc".to_owned(), Some(vec![80]))]));
        let (gateway, _) = carry_out(&gateway, &mut observed, NOW);
        let (after, applied) = carry_out(&gateway, &mut observed, NOW + Duration::minutes(later));
        prop_assert!(applied.plan.steps.is_empty(), "{:#?}", applied.plan.steps);
        prop_assert_eq!(&after.status, &gateway.status);
    }

    #[test]
    fn whatever_a_gateway_becomes_it_gets_there_in_one_plan_and_keeps_its_authority(
        before in gateway(), after in gateway(), days in 0_i64..100,
    ) {
        let mut observed = surroundings(BTreeMap::from([("svc".to_owned(), Some(vec![80]))]));
        let (before, _) = carry_out(&before, &mut observed, NOW);
        let changed = Gateway { status: before.status.clone(), ..after };
        let (changed, _) = carry_out(&changed, &mut observed, NOW + Duration::days(days));
        let fingerprint = |gateway: &Gateway| gateway.status.clone().unwrap().ca.unwrap().fingerprint;
        prop_assert_eq!(fingerprint(&changed), fingerprint(&before));
        let (_, applied) = carry_out(&changed, &mut observed, NOW + Duration::days(days));
        prop_assert!(applied.plan.steps.is_empty(), "{:#?}", applied.plan.steps);
    }
}
