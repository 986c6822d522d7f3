# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SDK clients on one transport policy, made when first used, and the translation of their errors."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t

from ..policy import messages
from ..policy.failure import SkrFailure
from . import budget, credentials, sign_in, subscriptions, transport

# Retries of one call that may be repeated safely; a 429 without Retry-After is otherwise not retried on POST and PATCH.
SAFE_TO_REPEAT = {"retry_on_methods": ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"], "retry_total": 5}
# For calls whose repetition would make something twice.
ONCE = {"retry_total": 0}


@dataclasses.dataclass
class Connection:
    """The caller's access to Azure for one module run. Nothing is imported or asked before it is needed."""

    given: credentials.Login
    ca_path: t.Optional[str] = None
    https_proxy: t.Optional[str] = None
    gate: budget.Gate = dataclasses.field(default_factory=budget.Gate, repr=False)
    wrote: bool = False  # whether Azure has, or may have, carried out a request that changes something
    _cache: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def login(self) -> credentials.Login:
        """The login with its cloud; a cloud given by its URL is asked for the rest when this is first read."""
        if self.given.cloud.known:
            return self.given
        from . import cloud_metadata  # here, because it uses this module

        cloud = cloud_metadata.discover(self.given.cloud.name, self._transport())
        return dataclasses.replace(self.given, cloud=cloud)

    def _transport(self) -> t.Dict[str, t.Any]:
        """One transport for every client: proxy and CA apply to all."""
        return dict(self._once("transport", lambda: transport.keywords(self.ca_path, self.https_proxy)))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: t.Any, error: t.Any, trace: t.Any) -> None:
        """A failure tells whether something had been changed before it, by what really went out."""
        if isinstance(error, SkrFailure):
            error.changed = error.changed or self.wrote

    def _policies(self, gate: t.Optional[budget.Gate] = None) -> t.List[t.Any]:
        """Policies for each attempt of a request."""
        return [policy for policy in (budget.policy(gate) if gate else None, self._witness()) if policy is not None]

    def _witness(self) -> t.Any:
        """Sees every request that changes something go out, and whether it was refused; no answer counts as done."""
        from azure.core.exceptions import HttpResponseError
        from azure.core.pipeline.policies import HTTPPolicy

        connection = self

        class Witness(HTTPPolicy):  # type: ignore[misc]
            def send(self, request: t.Any) -> t.Any:
                writes = request.http_request.method not in ("GET", "HEAD")
                try:
                    response = self.next.send(request)
                except HttpResponseError:
                    raise
                except Exception:
                    connection.wrote = connection.wrote or writes
                    raise
                if writes and response.http_response.status_code < 400:
                    connection.wrote = True
                return response

        return Witness()

    def _once(self, name: str, make: t.Callable[[], t.Any]) -> t.Any:
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]

    @property
    def credential(self) -> t.Any:
        return self._once("credential", lambda: credentials.credential(self.login, self._transport()))

    @property
    def subscription_id(self) -> str:
        if self.login.subscription_id:
            return self.login.subscription_id
        if self.login.way == "msi":
            return t.cast(str, self._once("subscription", lambda: subscriptions.only(self)))
        raise SkrFailure(
            "invalid_input",
            "subscription_id is not set, wanted the id of an Azure subscription (or AZURE_SUBSCRIPTION_ID).",
            {"option": "subscription_id"},
        )

    def _management(self, package: str, module: str, name: str) -> t.Any:
        def make() -> t.Any:
            import importlib

            try:
                client = getattr(importlib.import_module(module), name)
            except ImportError as error:
                raise credentials.library_missing(package) from error
            cloud = self.login.cloud
            return client(
                self.credential,
                self.subscription_id,
                base_url=cloud.resource_manager,
                credential_scopes=[cloud.scope],
                per_retry_policies=self._policies(self.gate),
                **self._transport(),
            )

        return self._once(package, make)

    @property
    def compute(self) -> t.Any:
        return self._management("azure-mgmt-compute", "azure.mgmt.compute", "ComputeManagementClient")

    def _key_vault(self) -> t.Any:
        return self._management("azure-mgmt-keyvault", "azure.mgmt.keyvault", "KeyVaultManagementClient")

    @property
    def vaults(self) -> t.Any:
        return self._key_vault().vaults

    @property
    def managed_hsms(self) -> t.Any:
        return self._key_vault().managed_hsms

    def keys(self, vault_uri: str) -> t.Any:
        """The key client of one vault."""

        def make() -> t.Any:
            try:
                from azure.keyvault.keys import KeyClient
            except ImportError as error:
                raise credentials.library_missing("azure-keyvault-keys") from error
            return KeyClient(vault_uri, self.credential, per_retry_policies=self._policies(), **self._transport())

        return self._once(f"keys {vault_uri}", make)

    def local_roles(self, hsm_uri: str) -> t.Any:
        """The client of one managed HSM's own role assignments."""

        def make() -> t.Any:
            try:
                from azure.keyvault.administration import KeyVaultAccessControlClient
            except ImportError as error:
                raise credentials.library_missing("azure-keyvault-administration") from error
            policies = self._policies()
            return KeyVaultAccessControlClient(
                hsm_uri, self.credential, per_retry_policies=policies, **self._transport()
            )

        return self._once(f"local roles {hsm_uri}", make)

    def get(self, path: str, api_version: str, what: str) -> t.Dict[str, t.Any]:
        """One document of Azure Resource Manager for which there is no well-kept or light SDK; on the same rules."""
        return self._send("GET", path, api_version, None, what)

    def put(self, path: str, api_version: str, body: t.Dict[str, t.Any], what: str) -> t.Dict[str, t.Any]:
        """Write one document that way; only for resources whose making is no long-running operation."""
        return self._send("PUT", path, api_version, body, what)

    def patch(self, path: str, api_version: str, body: t.Dict[str, t.Any], what: str) -> t.Dict[str, t.Any]:
        """Change one document that way."""
        return self._send("PATCH", path, api_version, body, what)

    def post(self, path: str, api_version: str, body: t.Dict[str, t.Any], what: str) -> t.Dict[str, t.Any]:
        """Ask by POST; only for what changes nothing, as it is repeated after a failure and counts as no write."""
        wrote = self.wrote
        try:
            return self._send("POST", path, api_version, body, what)
        finally:
            self.wrote = wrote

    def attestation(
        self, method: str, url: str, what: str, api_version: str = "", content: t.Optional[str] = None
    ) -> t.Dict[str, t.Any]:
        """One call of an attestation provider's own API; ``content`` goes as plain text. Raises SkrFailure."""
        client = self._once("attestation", self._attestation_pipeline)
        with errors(what):
            from azure.core.exceptions import HttpResponseError
            from azure.core.rest import HttpRequest

            request = HttpRequest(method, url, params={"api-version": api_version} if api_version else {})
            if content is not None:
                headers = {"Content-Type": "text/plain"}
                request = HttpRequest(
                    method, url, params={"api-version": api_version}, content=content, headers=headers
                )
            response = client.send_request(request, **SAFE_TO_REPEAT)
            if response.status_code != 200:
                raise _attestation_refusal(what, HttpResponseError(response=response))
            return t.cast(t.Dict[str, t.Any], response.json())

    def delete(self, path: str, api_version: str, what: str) -> None:
        """Delete one document that way; what is not there counts as deleted."""
        self._send("DELETE", path, api_version, None, what)

    def find(self, path: str, api_version: str, what: str) -> t.Optional[t.Dict[str, t.Any]]:
        """One document, or None where there is none; a resource group that is not there stays a failure."""
        try:
            return self._send("GET", path, api_version, None, what)
        except SkrFailure as failure:
            if failure.reason != "resource_not_found" or failure.facts.get("code") == "ResourceGroupNotFound":
                raise
            return None

    def list(self, path: str, api_version: str, what: str, **query: str) -> t.Iterator[t.Dict[str, t.Any]]:
        """The items of a paged list; ``query`` holds members such as ``filter``, without their dollar sign."""
        page = self._send("GET", path, api_version, None, what, {f"${name}": value for name, value in query.items()})
        while True:
            yield from page.get("value") or []
            link = page.get("nextLink")
            if not link:
                return
            page = self._send("GET", str(link), None, None, what)

    def _send(
        self,
        method: str,
        path: str,
        api_version: t.Optional[str],
        body: t.Optional[t.Dict[str, t.Any]],
        what: str,
        query: t.Optional[t.Dict[str, str]] = None,
    ) -> t.Dict[str, t.Any]:
        """``path`` may be the absolute link of a next page, which has its api-version already."""
        client = self._once("resource manager", self._pipeline)
        with errors(what):
            from azure.core.exceptions import HttpResponseError, map_error
            from azure.core.exceptions import ResourceNotFoundError as NotFound
            from azure.core.rest import HttpRequest
            from azure.mgmt.core.exceptions import ARMErrorFormat

            url = path if path.startswith("https://") else f"{self.login.cloud.resource_manager}{path}"
            parameters = {"api-version": api_version, **(query or {})} if api_version else None
            response = client.send_request(HttpRequest(method, url, params=parameters, json=body), **SAFE_TO_REPEAT)
            gone = method == "DELETE" and response.status_code in (204, 404)
            if response.status_code not in (200, 201) and not gone:
                map_error(response.status_code, response, {404: NotFound})
                raise HttpResponseError(response=response, error_format=ARMErrorFormat)
            if method == "DELETE":  # some services answer with what is gone, others with nothing
                return {}
            return t.cast(t.Dict[str, t.Any], response.json())

    def _pipeline(self) -> t.Any:
        try:
            from azure.mgmt.core import ARMPipelineClient
            from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
        except ImportError as error:
            raise credentials.library_missing("azure-mgmt-core") from error
        cloud = self.login.cloud
        chain, kwargs = self._chain(ARMChallengeAuthenticationPolicy(self.credential, cloud.scope), self.gate)
        return ARMPipelineClient(cloud.resource_manager, policies=chain, **kwargs)

    def _attestation_pipeline(self) -> t.Any:
        try:
            from azure.core import PipelineClient
            from azure.core.pipeline.policies import BearerTokenCredentialPolicy
        except ImportError as error:
            raise credentials.library_missing("azure-core") from error
        audience = f"https://{self.login.cloud.attestation_suffix}"
        chain, kwargs = self._chain(BearerTokenCredentialPolicy(self.credential, f"{audience}/.default"))
        return PipelineClient(audience, policies=chain, **kwargs)

    def _chain(
        self, authentication: t.Any, gate: t.Optional[budget.Gate] = None
    ) -> t.Tuple[t.List[t.Any], t.Dict[str, t.Any]]:
        """The policies of a bare client and what its transport is made with. Redirects are not among them."""
        from azure.core.pipeline import policies

        kwargs = self._transport()
        chain = [
            policies.RequestIdPolicy(),
            policies.UserAgentPolicy(kwargs.pop("user_agent"), user_agent_use_env=kwargs.pop("user_agent_use_env")),
            policies.ProxyPolicy(kwargs.pop("proxies", None)),
            policies.RetryPolicy(),
            *self._policies(gate),
            authentication,
        ]
        return chain, kwargs

    def caller(self) -> t.Dict[str, t.Any]:
        """Claims of the caller's own token: ``oid`` and ``tid`` are what is read of it."""

        def read() -> t.Dict[str, t.Any]:
            import base64

            body = self.credential.get_token(self.login.cloud.scope).token.split(".")[1]
            claims: t.Dict[str, t.Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            return {"oid": claims.get("oid"), "tid": claims.get("tid")}

        with errors("the caller's token"):
            return t.cast(t.Dict[str, t.Any], self._once("caller", read))


def connection(options: t.Mapping[str, t.Any], environ: t.Optional[t.Mapping[str, str]] = None) -> Connection:
    """The connection for a module's options."""
    login = credentials.resolve(options, os.environ if environ is None else environ)
    return Connection(login, options.get("ca_path"), options.get("https_proxy"))


def wire(model: t.Any) -> t.Dict[str, t.Any]:
    """An SDK model as a dictionary with the service's own names, whatever the generation of the SDK."""
    if hasattr(model, "serialize"):
        return t.cast(t.Dict[str, t.Any], model.serialize(keep_readonly=True))
    return t.cast(t.Dict[str, t.Any], model.as_dict())


@contextlib.contextmanager
def errors(what: str) -> t.Iterator[None]:
    """Turn the SDK's exceptions into SkrFailure; ``what`` names the resource in messages."""
    try:
        from azure.core import exceptions
    except ImportError as error:
        raise credentials.library_missing("azure-core") from error
    try:
        yield
    except exceptions.ClientAuthenticationError as error:
        raise sign_in.failure(what, error) from error
    except exceptions.IncompleteReadError as error:
        raise SkrFailure("network_unreachable", f"{what}: the connection broke off within the answer.") from error
    except exceptions.DecodeError as error:
        raise _cut_off(what, error) from error
    except exceptions.HttpResponseError as error:
        raise refusal(what, error) from error
    except json.JSONDecodeError as error:
        raise _cut_off(what, error) from error
    except (exceptions.ServiceRequestError, exceptions.ServiceResponseError) as error:
        text = str(error)
        if "certificate verify failed" in text.lower():
            raise SkrFailure(
                "tls_untrusted", f"The certificate of {what} does not verify against the CA bundle in use."
            ) from error
        proxy = " through the proxy" if "proxy" in text.lower() else ""
        raise SkrFailure(
            "network_unreachable", f"{what} cannot be reached{proxy}.", {"error": type(error).__name__}
        ) from error


def _cut_off(what: str, error: Exception) -> SkrFailure:
    return SkrFailure(
        "service_error",
        f"{what}: the answer is not JSON, as if it had been cut off, or a proxy had answered in the service's place.",
        {"error": type(error).__name__},
    )


def service_code(error: t.Any) -> t.Tuple[str, str, str]:
    """Code, inner code and message of a service's error answer, each empty when there is none."""
    inner = getattr(error, "error", None)
    code = str(getattr(inner, "code", "") or "")
    message = str(getattr(inner, "message", "") or "")
    deeper = getattr(inner, "innererror", None)
    inner_code = str(deeper.get("code", "")) if isinstance(deeper, dict) else ""
    return code, inner_code, message


def _answered(error: t.Any) -> t.Dict[str, t.Any]:
    """What an error answer says, as facts."""
    code, inner, message = service_code(error)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    facts: t.Dict[str, t.Any] = {
        "status": getattr(error, "status_code", None),
        "code": code,
        "inner_code": inner,
        "message": message[:500],
        "request_id": headers.get("x-ms-request-id"),
    }
    if str(headers.get("Retry-After", "")).isdigit():
        facts["retry_after"] = int(headers["Retry-After"])
    return facts


def _attestation_refusal(what: str, error: t.Any) -> SkrFailure:
    """The failure for an error answer of an attestation provider's own API."""
    code, _inner, message = service_code(error)
    facts, text = _answered(error), message[:300] or type(error).__name__
    if facts["status"] in (401, 403):  # the service answers 401 to a caller without the role, too
        return SkrFailure(
            "authorization_failed",
            f"{what}: {text}",
            facts,
            "The calling identity may not do this at the attestation provider, or the grant is not effective yet.",
            "Give it the role Attestation Contributor on the provider (to read alone: Attestation Reader).",
        )
    decoded = messages.decode(message, "attestation_policy", facts["status"], [code] if code else [])
    facts.update(decoded.facts if decoded else {})
    reason = decoded.reason if decoded else "throttled" if facts["status"] == 429 else "service_error"
    return SkrFailure(reason, f"{what}: {text}", facts)


def refusal(what: str, error: t.Any) -> SkrFailure:
    """The failure for an error answer of Resource Manager or Key Vault."""
    code, inner, message = service_code(error)
    facts = _answered(error)
    status = facts["status"]
    text = message[:300] or type(error).__name__
    codes = [one for one in (code, inner) if one]
    # The status of a failed long-running operation is that of the last poll: 200, which says nothing.
    decoded = messages.decode(message, "vault", status, codes) or messages.decode(message, "arm", status, codes)
    if decoded is None and status == 200:
        decoded = messages.decode(message, "arm", None, codes) if codes else None
    reason = decoded.reason if decoded else None
    if decoded:
        facts.update({name: value for name, value in decoded.facts.items() if name not in facts})
    if reason is None:
        reason = {
            401: "authentication_failed",
            404: "resource_not_found",
            409: "conflict",
            412: "conflict",
            429: "throttled",
            200: "operation_failed" if code else "service_error",
        }.get(t.cast(int, status), "service_error")
    asked = str(getattr(getattr(getattr(error, "response", None), "request", None), "url", ""))
    if reason == "permission_missing" and ".managedhsm." in asked:
        return SkrFailure(
            reason,
            f"{what}: {text}",
            facts,
            "The calling identity lacks a local role of the managed HSM; Azure roles mean nothing there.",
            "Give it, with az keyvault role assignment create, Managed HSM Crypto User at /keys for keys, Managed HSM Crypto Officer "
            "for recovering and purging them, or Managed HSM Policy Administrator for grants.",
        )
    if reason == "permission_missing":  # here the caller's, not the VM's
        return SkrFailure(
            reason,
            f"{what}: {text}",
            facts,
            "The calling identity lacks a permission in the vault, or the grant is not effective yet.",
            "Give it the role Key Vault Crypto Officer, or with access policies list it in key_managers of key_vault.",
        )
    return SkrFailure(reason, f"{what}: {text}", facts)
