"""
The flags of kubectl, and which of them take a value: without that a command line cannot be taken apart.

A flag that is in neither list is refused by name: whether the word after it is its value would be a guess.
"""

_WITH_VALUE = """
    -n --namespace -o --output -l --selector --field-selector -f --filename -c --container --as --as-group --as-uid
    --context --kubeconfig --cluster --user --token -s --server --request-timeout -v --v --tail --since --since-time
    --image --replicas --grace-period --timeout --sort-by --type --patch --patch-file --dry-run --cascade
    --from-literal --from-file --restart --target --for --port --target-port --limit-bytes --chunk-size --audience
    --duration --bound-object-kind --bound-object-name --subresource --address --pod-running-timeout --env --labels
    --overrides --verb --resource --clusterrole --role --serviceaccount --group --field-manager --profile --copy-to
    --resource-version --current-replicas --min --max --cpu-percent --template --name --pod-selector --to-revision
    --revision --raw -k --kustomize --from --rule --class --hard --cert --key --docker-server --docker-username
    --docker-password --docker-email --schedule --tcp --from-env-file --value --min-available --max-unavailable
    --resource-name --non-resource-url --max-log-requests --retries --limits --requests --external-name --clusterip
    --event-namespace --api-group --description --preemption-policy --default-backend --annotation --set-image --scopes
"""
_ALONE = """
    -A --all-namespaces -w --watch --watch-only --all -i --stdin -t --tty -it -ti -q --quiet --rm --force --wait
    --previous --follow --timestamps --ignore-not-found --show-labels --no-headers --overwrite --list --now
    --server-side --force-conflicts --prune --recursive -R --ignore-daemonsets --delete-emptydir-data
    --disable-eviction --all-containers --prefix --containers --show-kind --save-config --record --share-processes
    --local --insecure-skip-tls-verify --show-managed-fields --short --command --attach --all-pods --ignore-errors
    --keep-annotations --append-hash --expose --namespaced --cached --client --no-preserve --resolve
"""
VALUE_FLAGS = frozenset(_WITH_VALUE.split())
SWITCHES = frozenset(_ALONE.split())
# flags whose letter means something else in one command, whether they take a value there
OWN_FLAGS = {("logs", "-f"): False, ("logs", "-p"): False, ("patch", "-p"): True}
# flags that mean the same, by the name that is looked up
LONG_NAMES = {
    "-n": "--namespace",
    "-A": "--all-namespaces",
    "-w": "--watch",
    "-l": "--selector",
    "-f": "--filename",
    "-k": "--filename",
    "--kustomize": "--filename",
}
# words that a shell keeps for itself
SHELL = ("|", "||", "&", "&&", ";", ">", ">>", "<")
