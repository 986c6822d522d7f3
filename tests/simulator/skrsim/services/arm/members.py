# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members a request body may have, model by model, in wire names. A test compares them with the Azure SDKs."""

from __future__ import annotations

# Members that a client may send back as it read them; the service ignores them.
READ_ONLY = frozenset({"id", "name", "type", "systemData", "etag"})

MODELS: dict[str, frozenset[str]] = {
    name: frozenset(members.split())
    for name, members in {
        # azure-mgmt-compute
        "VirtualMachineUpdate": "identity plan properties tags zones",
        "VirtualMachineIdentity": "principalId tenantId type userAssignedIdentities",
        "UserAssignedIdentitiesValue": "clientId principalId",
        # azure-mgmt-keyvault
        "VaultCreateOrUpdateParameters": "location properties tags",
        "VaultPatchParameters": "properties tags",
        "VaultProperties": (
            "accessPolicies createMode enabledForDeployment enabledForDiskEncryption enabledForTemplateDeployment "
            "enablePurgeProtection enableRbacAuthorization enableSoftDelete hsmPoolResourceId networkAcls "
            "privateEndpointConnections provisioningState publicNetworkAccess sku softDeleteRetentionInDays tenantId "
            "vaultUri"
        ),
        "VaultPatchProperties": (
            "accessPolicies createMode enabledForDeployment enabledForDiskEncryption enabledForTemplateDeployment "
            "enablePurgeProtection enableRbacAuthorization enableSoftDelete networkAcls publicNetworkAccess sku "
            "softDeleteRetentionInDays tenantId"
        ),
        "Sku": "family name",
        "AccessPolicyEntry": "applicationId objectId permissions tenantId",
        "Permissions": "certificates keys secrets storage",
        "NetworkRuleSet": "bypass defaultAction ipRules virtualNetworkRules",
        "IPRule": "value",
        "VirtualNetworkRule": "id ignoreMissingVnetServiceEndpoint",
        "VaultAccessPolicyParameters": "id location name properties type",
        "VaultAccessPolicyProperties": "accessPolicies",
        "VaultCheckNameAvailabilityParameters": "name type",
        # azure-mgmt-authorization
        "RoleAssignmentCreateParameters": "properties",
        "RoleAssignmentProperties": (
            "condition conditionVersion createdBy createdOn delegatedManagedIdentityResourceId description principalId "
            "principalType roleDefinitionId scope updatedBy updatedOn"
        ),
        # azure-mgmt-msi
        "Identity": "id location name properties systemData tags type",
        "IdentityProperties": "clientId isolationScope principalId tenantId",
        # Microsoft.Attestation (azure-rest-api-specs, Attestation.Management, 2021-06-01)
        "AttestationServiceCreationParams": "location properties tags",
        "AttestationServiceCreationSpecificParams": (
            "policySigningCertificates publicNetworkAccess tpmAttestationAuthentication"
        ),
        "AttestationServicePatchParams": "properties tags",
        "AttestationServicePatchSpecificParams": "publicNetworkAccess tpmAttestationAuthentication",
        "JsonWebKeySet": "keys",
        "JsonWebKey": "alg crv d dp dq e k kid kty n p q qi use x x5c y",
        # azure-mgmt-resource
        "ResourceGroup": "id location managedBy name properties tags type",
    }.items()
}

# Permission names of an access policy, lower case (comparisons ignore case).
PERMISSIONS: dict[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "keys": (
            "all encrypt decrypt wrapkey unwrapkey sign verify get list create update import delete backup restore "
            "recover purge release rotate getrotationpolicy setrotationpolicy"
        ),
        "secrets": "all get list set delete backup restore recover purge",
        "certificates": (
            "all get list delete create import update managecontacts getissuers listissuers setissuers deleteissuers "
            "manageissuers recover purge backup restore"
        ),
        "storage": (
            "all get list delete set update regeneratekey recover purge backup restore setsas listsas getsas deletesas"
        ),
    }.items()
}
