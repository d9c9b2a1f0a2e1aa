"""Works on a lake where something runs out. Run as a module: `poor_machine FOLDER WHAT`.

`size` caps the size of files, `files` the number of open files, `space` and `readonly` expect a
small or read-only file system at FOLDER. Prints the error that came, as JSON with its class.
"""

import json
import resource
import signal
import sys
from pathlib import Path

from quantlab_assets.domain.errors import QuantlabError
from quantlab_tests.adapters.artifact_store.lakes import note, open_lake


def main(folder: Path, what: str) -> int:
    store = open_lake(folder)
    warm = note(1, "gm")
    if what == "files":
        # Everything that is imported late is imported first, as in a program that runs for long.
        store.publish_artifact(warm)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    if what == "size":
        store.publish_artifact(warm)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    texts = [f"{i * 7919:x}{i**5:x}" for i in range(30_000)]
    try:
        store.publish_many([note(chat, *texts) for chat in range(2, 8)])
    except QuantlabError as error:
        print(json.dumps([type(error).__name__, str(error)]))
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
