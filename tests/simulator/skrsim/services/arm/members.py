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
        "VirtualMachine": (
            "etag extendedLocation id identity location managedBy name placement plan properties resources systemData tags "
            "type zones"
        ),
        "VirtualMachineProperties": (
            "additionalCapabilities applicationProfile availabilitySet billingProfile capacityReservation "
            "diagnosticsProfile evictionPolicy extensionsTimeBudget flexProfile hardwareProfile host hostGroup "
            "instanceView interconnectBlockProfile licenseType networkProfile osProfile platformFaultDomain priority "
            "provisioningState proximityPlacementGroup resiliencyProfile scheduledEventsPolicy scheduledEventsProfile "
            "securityProfile storageProfile timeCreated userData virtualMachineScaleSet vmId"
        ),
        "HardwareProfile": "processorMode vmSize vmSizeProperties",
        "SecurityProfile": "encryptionAtHost encryptionIdentity proxyAgentSettings securityType uefiSettings",
        "UefiSettings": "secureBootEnabled vTpmEnabled",
        "StorageProfile": (
            "alignRegionalDisksToVMZone dataDisks diskApiVersion diskControllerType imageReference osDisk"
        ),
        "ImageReference": "communityGalleryImageId exactVersion id offer publisher sharedGalleryImageId sku version",
        "OSDisk": (
            "caching createOption deleteOption diffDiskSettings diskSizeGB encryptionSettings image managedDisk name "
            "osType storageFaultDomainAlignment vhd writeAcceleratorEnabled"
        ),
        "ManagedDiskParameters": ("additionalDiskProperties diskEncryptionSet id securityProfile storageAccountType"),
        "VMDiskSecurityProfile": "diskEncryptionSet securityEncryptionType",
        "DiskEncryptionSetParameters": "id",
        "OSProfile": (
            "adminPassword adminUsername allowExtensionOperations computerName customData linuxConfiguration "
            "requireGuestProvisionSignal secrets windowsConfiguration"
        ),
        "LinuxConfiguration": (
            "disablePasswordAuthentication enableVMAgentPlatformUpdates patchSettings provisionVMAgent ssh"
        ),
        "SshConfiguration": "publicKeys",
        "SshPublicKey": "keyData path",
        "NetworkProfile": (
            "interconnectGroupProfile networkApiVersion networkInterfaceConfigurations networkInterfaces"
        ),
        "NetworkInterfaceReference": "id properties",
        "NetworkInterfaceReferenceProperties": "deleteOption primary",
        "DiskEncryptionSet": "id identity location name properties systemData tags type",
        "EncryptionSetProperties": (
            "activeKey autoKeyRotationError encryptionType federatedClientId lastKeyRotationTimestamp previousKeys "
            "provisioningState rotationToLatestKeyVersionEnabled"
        ),
        "KeyForDiskEncryptionSet": "keyUrl sourceVault",
        "SourceVault": "id",
        "EncryptionSetIdentity": "principalId tenantId type userAssignedIdentities",
        "VirtualMachineScaleSet": (
            "etag extendedLocation id identity location name placement plan properties sku systemData tags type zones"
        ),
        "VirtualMachineScaleSetProperties": (
            "additionalCapabilities automaticRepairsPolicy constrainedMaximumCapacity "
            "doNotRunExtensionsOnOverprovisionedVMs externalHealthPolicy highSpeedInterconnectPlacement hostGroup "
            "lifecycleHooksProfile orchestrationMode overprovision platformFaultDomainCount priorityMixPolicy "
            "provisioningState proximityPlacementGroup resiliencyPolicy scaleInPolicy scheduledEventsPolicy "
            "singlePlacementGroup skuProfile spotRestorePolicy timeCreated uniqueId upgradePolicy "
            "virtualMachineProfile zonalPlatformFaultDomainAlignMode zoneBalance"
        ),
        "VirtualMachineScaleSetUpdate": "identity placement plan properties sku tags zones",
        "VirtualMachineScaleSetVMProfile": (
            "applicationProfile billingProfile capacityReservation diagnosticsProfile evictionPolicy extensionProfile "
            "hardwareProfile interconnectBlockProfile licenseType networkProfile osProfile priority "
            "scheduledEventsProfile securityPostureReference securityProfile serviceArtifactReference storageProfile "
            "timeCreated userData"
        ),
        "VirtualMachineScaleSetStorageProfile": "dataDisks diskApiVersion diskControllerType imageReference osDisk",
        "VirtualMachineScaleSetOSDisk": (
            "caching createOption deleteOption diffDiskSettings diskSizeGB image managedDisk name osType "
            "storageFaultDomainAlignment vhdContainers writeAcceleratorEnabled"
        ),
        "VirtualMachineScaleSetManagedDiskParameters": (
            "additionalDiskProperties diskEncryptionSet securityProfile storageAccountType"
        ),
        "VirtualMachineScaleSetOSProfile": (
            "adminPassword adminUsername allowExtensionOperations computerNamePrefix customData linuxConfiguration "
            "requireGuestProvisionSignal secrets windowsConfiguration"
        ),
        "VirtualMachineScaleSetNetworkProfile": (
            "healthProbe interconnectGroupProfile networkApiVersion networkInterfaceConfigurations"
        ),
        "VirtualMachineScaleSetNetworkConfiguration": "name properties tags",
        "VirtualMachineScaleSetNetworkConfigurationProperties": (
            "auxiliaryMode auxiliarySku deleteOption disableTcpStateTracking dnsSettings enableAcceleratedNetworking "
            "enableFpga enableIPForwarding ipConfigurations networkSecurityGroup primary"
        ),
        "VirtualMachineScaleSetIPConfiguration": "name properties",
        "VirtualMachineScaleSetIPConfigurationProperties": (
            "applicationGatewayBackendAddressPools applicationSecurityGroups loadBalancerBackendAddressPools "
            "loadBalancerInboundNatPools primary privateIPAddressPrefixLength privateIPAddressVersion "
            "publicIPAddressConfiguration subnet"
        ),
        "ApiEntityReference": "id",
        "VirtualMachineScaleSetVMInstanceRequiredIDs": "instanceIds",
        "UpgradePolicy": "automaticOSUpgradePolicy mode rollingUpgradePolicy",
        "VirtualMachineIdentity": "principalId tenantId type userAssignedIdentities",
        "UserAssignedIdentitiesValue": "clientId principalId",
        # Resource Graph
        "QueryRequest": "facets managementGroups options query subscriptions",
        "QueryRequestOptions": ("$skip $skipToken $top allowPartialScopes authorizationScopeFilter resultFormat"),
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
        "PrivateEndpointConnection": "etag id location name properties systemData tags type",
        "PrivateEndpointConnectionProperties": "privateEndpoint privateLinkServiceConnectionState provisioningState",
        "PrivateLinkServiceConnectionState": "actionsRequired description status",
        "ManagedHsm": "id identity location name properties sku systemData tags type",
        "ManagedHsmProperties": (
            "createMode enablePurgeProtection enableSoftDelete hsmUri initialAdminObjectIds networkAcls "
            "privateEndpointConnections provisioningState publicNetworkAccess regions scheduledPurgeDate "
            "securityDomainProperties softDeleteRetentionInDays statusMessage tenantId"
        ),
        "ManagedHsmSku": "family name",
        "CheckMhsmNameAvailabilityParameters": "name",
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
        # azure-mgmt-network is not among the requirements; members of its documentation
        "VirtualNetwork": "etag id location name properties tags type",
        "VirtualNetworkProperties": "addressSpace dhcpOptions provisioningState resourceGuid subnets",
        "Subnet": "etag id name properties type",
        "SubnetProperties": (
            "addressPrefix addressPrefixes defaultOutboundAccess delegations ipConfigurations networkSecurityGroup "
            "privateEndpointNetworkPolicies privateLinkServiceNetworkPolicies provisioningState serviceEndpoints"
        ),
        "NetworkSecurityGroup": "etag id location name properties tags type",
        "NetworkSecurityGroupProperties": (
            "defaultSecurityRules networkInterfaces provisioningState resourceGuid securityRules subnets"
        ),
        "NetworkInterface": "etag extendedLocation id kind location name properties tags type",
        "NetworkInterfaceProperties": (
            "allowPort25Out auxiliaryMode auxiliarySku defaultOutboundConnectivityEnabled disableTcpStateTracking "
            "dnsSettings enableAcceleratedNetworking enableIPForwarding ipConfigurations macAddress "
            "networkSecurityGroup nicType primary provisioningState resourceGuid virtualMachine vnetEncryptionSupported"
        ),
        "IPConfiguration": "etag id name properties type",
        "IPConfigurationProperties": (
            "primary privateIPAddress privateIPAddressVersion privateIPAllocationMethod provisioningState "
            "publicIPAddress subnet"
        ),
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
