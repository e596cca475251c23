# Exit 0 when this container's API answers. Bash alone: no interpreter is started every few seconds
# for each of the containers that a host holds. /healthz asks nothing of the database, whose failure
# must not get every worker killed.
host=${ALLOWED_HOSTS%%,*}
exec 3<>"/dev/tcp/127.0.0.1/${PORT:-8000}" || exit 1
printf 'GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${host#.}" >&3
read -r -t 3 status <&3 && [[ $status == *" 200 "* ]]
