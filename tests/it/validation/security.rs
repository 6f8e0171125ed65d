//! Security contexts, profiles and their annotations, operating systems.

use super::*;

#[test]
fn containers_contexts_are_checked() {
    let context = |fields: &str| format!("securityContext: {{{fields}}}");
    in_container(&[
        (
            &context("runAsUser: -1, runAsGroup: 2147483648"),
            &[
                "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            &context("procMount: Some"),
            &["securityContext.procMount: Unsupported value: \"Some\": supported values: \"Default\", \"Unmasked\""],
        ),
        (
            &context("procMount: Unmasked"),
            &["securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"],
        ),
        (&context("allowPrivilegeEscalation: false, privileged: true"), &["securityContext: Invalid value: …"]),
        (
            &context("seccompProfile: {type: Localhost}"),
            &["securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is \
               Localhost"],
        ),
        (
            &context("seccompProfile: {type: ''}"),
            &["securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set"],
        ),
        (
            &context("seccompProfile: {type: Unconfined, localhostProfile: a}"),
            &["securityContext.seccompProfile.localhostProfile: Invalid value: …"],
        ),
        (
            &context("appArmorProfile: {type: Localhost, localhostProfile: ' a'}"),
            &["securityContext.appArmorProfile.localhostProfile: Invalid value: \" a\": must not be padded with \
               whitespace"],
        ),
        (
            &context("appArmorProfile: {type: Unconfined, localhostProfile: a}"),
            &["securityContext.appArmorProfile.localhostProfile: Invalid value: \"a\": can only be set when AppArmor \
               type is Localhost"],
        ),
        (
            &context("windowsOptions: {runAsUserName: 'a\\b\\c', gmsaCredentialSpec: ''}"),
            &[
                "securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: \"\": gmsaCredentialSpec cannot be \
                 an empty string",
                "securityContext.windowsOptions.runAsUserName: Invalid value: \"a\\\\b\\\\c\": runAsUserName cannot \
                 contain more than one backslash",
            ],
        ),
        (
            &context("windowsOptions: {hostProcess: true}"),
            &["spec.template.spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any \
               hostProcess containers"],
        ),
    ]);
}

#[test]
fn pods_contexts_are_checked() {
    let context = |fields: &str| format!("securityContext: {{{fields}}}");
    templates(&[
        (
            &context("fsGroup: -1, supplementalGroups: [1, -1]"),
            &[
                "securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "securityContext.supplementalGroups[1]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            "shareProcessNamespace: true, hostPID: true",
            &["securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot \
               both be enabled"],
        ),
        (
            &context("sysctls: [{name: Kernel.x, value: a}, {name: '', value: a}]"),
            &[
                "securityContext.sysctls[0].name: Invalid value: \"Kernel.x\": must have at most 253 characters and \
                 match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                "securityContext.sysctls[1].name: Required value",
            ],
        ),
        (
            "hostNetwork: true, hostIPC: true, securityContext: {sysctls: [{name: net/ipv4/x, value: a}, \
             {name: kernel.shmmax, value: a}]}",
            &[
                "securityContext.sysctls[0].name: Invalid value: \"net/ipv4/x\": may not be specified when \
                 'hostNetwork' is true",
                "securityContext.sysctls[1].name: Invalid value: \"kernel.shmmax\": may not be specified when \
                 'hostIPC' is true",
            ],
        ),
        (
            &context("supplementalGroupsPolicy: Some"),
            &["securityContext.supplementalGroupsPolicy: Unsupported value: \"Some\": supported values: \"Merge\", \
               \"Strict\""],
        ),
        (
            "hostUsers: false, hostNetwork: true, hostPID: true",
            &[
                "hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
                "HostPID: Forbidden: when `pod.Spec.HostUsers` is false",
            ],
        ),
    ]);
}

#[test]
fn operating_systems_exclude_each_others_fields() {
    templates(&[
        ("os: {name: plan9}", &["os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""]),
        ("os: {name: ''}", &["os.name: Required value: cannot be empty"]),
        (
            "os: {name: linux}, securityContext: {windowsOptions: {runAsUserName: a}}",
            &["securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"],
        ),
        (
            "os: {name: windows}, hostPID: true, securityContext: {runAsUser: 1}, \
             containers: [{securityContext: {privileged: true}}]",
            &[
                "hostPID: Forbidden: cannot be set for a windows pod",
                "securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
                "containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
            ],
        ),
    ]);
}

#[test]
fn profile_annotations_are_checked() {
    let base = |fragment: &str| {
        let (annotation, context) = fragment.split_once('|').unwrap_or((fragment, ""));
        let spec = format!("containers: [{{securityContext: {{{context}}}}}]");
        with(job(), &format!("spec: {{template: {{metadata: {{annotations: {{{annotation}}}}}, spec: {{{spec}}}}}}}"))
    };
    check(
        base,
        "spec.template.",
        &[
            ("container.apparmor.security.beta.kubernetes.io/main: localhost/x", &[]),
            (
                "container.apparmor.security.beta.kubernetes.io/nope: unconfined",
                &[
                    "annotations[container.apparmor.security.beta.kubernetes.io/nope]: Invalid value: \"nope\": container \
               not found",
                ],
            ),
            (
                "container.apparmor.security.beta.kubernetes.io/main: unconfined|appArmorProfile: {type: RuntimeDefault}",
                &[
                    "spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and \
               field must match",
                ],
            ),
            (
                "container.seccomp.security.alpha.kubernetes.io/main: localhost/a|seccompProfile: {type: Localhost, \
             localhostProfile: b}",
                &["spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in \
               annotation and field must match"],
            ),
            (
                "scheduler.alpha.kubernetes.io/tolerations: x",
                &["annotations: Invalid value: \"scheduler.alpha.kubernetes.io/tolerations\": invalid character 'x' \
               looking for beginning of value"],
            ),
            (
                "scheduler.alpha.kubernetes.io/tolerations: '{}'",
                &["annotations: Invalid value: \"scheduler.alpha.kubernetes.io/tolerations\": json: cannot unmarshal \
               object into Go value of type []core.Toleration"],
            ),
            (
                "controller.kubernetes.io/pod-deletion-cost: '+1'",
                &["annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit \
               integer"],
            ),
            (
                "kubernetes.io/config.mirror: x",
                &[
                    "annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod \
               annotation is set",
                ],
            ),
        ],
    );
}
