# The link that enables the timer is not one of the package's files.
if command -v systemctl >/dev/null; then
  if [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now ostree-ext-update.timer || true
  else
    systemctl disable --quiet ostree-ext-update.timer || true
  fi
fi
