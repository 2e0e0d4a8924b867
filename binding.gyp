{
  "targets": [
    {
      "target_name": "pollmode",
      "sources": [
        "native/addon.cc",
        "native/memory.cc",
        "native/guard.cc",
        "native/file.cc",
        "native/socket.cc",
        "native/bpf.cc",
        "native/thread.cc",
        "native/watch.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "_GNU_SOURCE"],
      "cflags": ["-O2", "-fvisibility=hidden", "-Wall", "-Wextra"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
      # libstdc++ is taken from the system, as Node itself takes it: what is used of it is of 2015 (GLIBCXX_3.4.21), so
      # the binary runs wherever Node 20 does (glibc 2.28). Linked statically it would need glibc 2.36 instead, through
      # arc4random and the unwinder. `nodelete`: the addon stays loaded when the worker that loaded it ends, because a
      # signal's action may point into it.
      "ldflags": ["-Wl,-z,nodelete"]
    }
  ]
}
