{{/* Takes a list: the root, and what the policy is about. Everything of it but what it matches and asks. */}}
{{- define "taskqueue.admission.policy" -}}
{{- $root := first . -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "taskqueue.admission.name" . }}
  labels:
    {{- include "taskqueue.labels" $root | nindent 4 }}
    app.kubernetes.io/component: operator
spec:
  failurePolicy: Fail
  matchConditions:
    - name: by-the-operator
      expression: request.userInfo.username == "system:serviceaccount:{{ $root.Release.Namespace }}:{{ include "taskqueue.serviceAccountName" $root }}"
{{- end -}}

{{/* Cluster-wide, and so with the release's namespace. */}}
{{- define "taskqueue.admission.name" -}}
{{- $root := first . -}}
{{- printf "%s-%s-%s" $root.Release.Namespace (include "taskqueue.fullname" $root) (last .) -}}
{{- end -}}

{{/* CEL. Takes a list: an object, and what else must hold of its owner, if anything. Whether a TaskQueue owns it. */}}
{{- define "taskqueue.admission.owned" -}}
{{ first . }}.metadata.?ownerReferences.orValue([]).exists(owner, owner.apiVersion.startsWith("taskqueue.dev/") && owner.kind == "TaskQueue"{{ range rest . }} && {{ . }}{{ end }})
{{- end -}}
