// The arena's address space: mappings over it, memfds behind it, guards on it.
#include "common.h"
#include "guard.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <utility>
#include <vector>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace pollmode {
namespace {

// One environment's guards. Each holds its arena: a guard whose memory was collected would watch, and write to,
// whatever the kernel puts there next.
class Guards {
 public:
  // What `mapBeside` has mapped, by address.
  std::map<uint64_t, size_t> beside;

  void Add(uint64_t id, Napi::Object view) {
    Sweep();
    held_.emplace_back(id, Napi::Persistent(view));
  }
  // Lets go of the arenas whose guards were dropped by a `restore`, in this thread or another.
  void Sweep() {
    for (size_t i = held_.size(); i-- > 0;) {
      if (GuardStands(held_[i].first)) continue;
      std::swap(held_[i], held_.back());
      held_.pop_back();
    }
  }
  void Close() {
    for (const auto& held : held_) DropGuard(held.first);
    held_.clear();
  }

 private:
  std::vector<std::pair<uint64_t, Napi::ObjectReference>> held_;
};

size_t PageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

struct Range {
  uint8_t* start = nullptr;
  size_t length = 0;
};

// Whole pages inside the view, at least one.
bool Pages(View view, double offset, double length, Range* range) {
  if (length == 0 || !view.holds(offset, length)) return false;
  range->start = view.data + static_cast<size_t>(offset);
  range->length = static_cast<size_t>(length);
  return (reinterpret_cast<uintptr_t>(range->start) | range->length) % PageSize() == 0;
}

Napi::Value Address(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  if (arguments.failed()) return arguments.Undefined();
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(reinterpret_cast<uintptr_t>(view.data)));
}

Napi::Value Overlay(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const double offset = arguments.Size(1);
  const double length = arguments.Size(2);
  const int fd = arguments.Int(3);
  const double at = arguments.Size(4);
  const int flags = arguments.Int(5);
  if (arguments.failed()) return arguments.Undefined();
  Range range;
  if (!Pages(view, offset, length, &range)) return arguments.Number(-EINVAL);
  const int protection = PROT_READ | PROT_WRITE;
  if (mmap(range.start, range.length, protection, flags | MAP_FIXED, fd, static_cast<off_t>(at)) != MAP_FAILED) {
    return arguments.Number(0);
  }
  // A driver's refusal can come after the kernel took the old pages away. Where they are still there, this does
  // nothing (EEXIST); where they are not, no hole is left for another thread's mmap to fall into.
  const int refused = errno;
  const int filler = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  (void)mmap(range.start, range.length, protection, filler, -1, 0);
  return arguments.Number(-refused);
}

Guards* GuardsOf(Napi::Env env) { return static_cast<Guards*>(env.GetInstanceData<Environment>()->guards.get()); }

Napi::Value Restore(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const double offset = arguments.Size(1);
  const double length = arguments.Size(2);
  if (arguments.failed()) return arguments.Undefined();
  Range range;
  if (!Pages(view, offset, length, &range)) return arguments.Number(-EINVAL);
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (mmap(range.start, range.length, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return arguments.Result(-1);
  DropGuardsInside(reinterpret_cast<uintptr_t>(range.start), range.length);
  GuardsOf(info.Env())->Sweep();
  return arguments.Number(0);
}

Napi::Value Advise(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const double offset = arguments.Size(1);
  const double length = arguments.Size(2);
  const int advice = arguments.Int(3);
  if (arguments.failed()) return arguments.Undefined();
  Range range;
  if (!Pages(view, offset, length, &range)) return arguments.Number(-EINVAL);
  return arguments.Result(madvise(range.start, range.length, advice));
}

// The seals are what lets a foreign peer have the file: it cannot take pages away from under us.
int SealedFile(const std::string& name, off_t size, unsigned flags) {
  // By number: the C library's wrapper is younger than the oldest one that Node 20 runs on.
  const long created = syscall(SYS_memfd_create, name.c_str(), flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (created < 0) return -1;
  const int fd = static_cast<int>(created);
  if (ftruncate(fd, size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) return fd;
  const int refused = errno;
  close(fd);
  errno = refused;
  return -1;
}

Napi::Value Memfd(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string name = arguments.String(0);
  const double size = arguments.Size(1);
  const uint32_t flags = arguments.Unsigned(2);
  if (arguments.failed()) return arguments.Undefined();
  if (name.find('\0') != std::string::npos) return arguments.Number(-EINVAL);
  return arguments.Result(SealedFile(name, static_cast<off_t>(size), flags));
}

// The flag must not stand on the pages that may go: writing it would fault inside the handler.
bool FlagIsSafe(View view, double flag, double offset, double length) {
  if (!view.holds(flag, 4) || (reinterpret_cast<uintptr_t>(view.data) + static_cast<size_t>(flag)) % 4 != 0) return false;
  return flag + 4 <= offset || flag >= offset + length;
}

Napi::Value Guard(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const double offset = arguments.Size(1);
  const double length = arguments.Size(2);
  const double flag = arguments.Size(3);
  if (arguments.failed()) return arguments.Undefined();
  Range range;
  if (!Pages(view, offset, length, &range) || !FlagIsSafe(view, flag, offset, length)) return arguments.Number(-EINVAL);
  auto* word = reinterpret_cast<uint32_t*>(view.data + static_cast<size_t>(flag));
  const uint64_t id = AddGuard(reinterpret_cast<uintptr_t>(range.start), range.length, word);
  if (id == 0) return arguments.Result(-1);
  GuardsOf(info.Env())->Add(id, info[0].As<Napi::Object>());
  return arguments.Number(0);
}

Napi::Value MapBeside(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const int fd = arguments.Int(1);
  const double at = arguments.Size(2);
  const double length = arguments.Size(3);
  const double flag = arguments.Size(4);
  if (arguments.failed()) return arguments.Undefined();
  if (length == 0 || !FlagIsSafe(view, flag, 0, 0)) return arguments.Number(-EINVAL);
  const auto size = static_cast<size_t>(length);
  void* start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(at));
  if (start == MAP_FAILED) return arguments.Result(-1);
  const auto address = reinterpret_cast<uintptr_t>(start);
  const uint64_t id = AddGuard(address, size, reinterpret_cast<uint32_t*>(view.data + static_cast<size_t>(flag)));
  if (id == 0) {
    const int refused = errno;
    munmap(start, size);
    return arguments.Number(-refused);
  }
  Guards* guards = GuardsOf(info.Env());
  guards->Add(id, info[0].As<Napi::Object>());
  guards->beside[address] = size;
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(address));
}

Napi::Value UnmapBeside(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  bool fits = false;
  const uint64_t address = arguments.Big(0, &fits);
  if (arguments.failed()) return arguments.Undefined();
  Guards* guards = GuardsOf(info.Env());
  const auto found = guards->beside.find(address);
  if (!fits || found == guards->beside.end()) return arguments.Number(-EINVAL);
  const size_t size = found->second;
  guards->beside.erase(found);
  DropGuardsInside(static_cast<uintptr_t>(address), size);
  guards->Sweep();
  return arguments.Result(munmap(reinterpret_cast<void*>(static_cast<uintptr_t>(address)), size));
}

// One piece of a list, as the burst functions write it.
struct Piece {
  uint64_t address;
  uint32_t offset;
  uint32_t length;
};

Napi::Value CopyList(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View view = arguments.Bytes(0);
  const double list = arguments.Size(1);
  const uint32_t count = arguments.Unsigned(2);
  const uint32_t out = arguments.Unsigned(3);
  if (arguments.failed()) return arguments.Undefined();
  if (!view.holds(list, static_cast<double>(count) * sizeof(Piece))) return arguments.Number(-EINVAL);
  const uint8_t* entry = view.data + static_cast<size_t>(list);
  Guarded guarded;
  for (uint32_t i = 0; i < count; i++, entry += sizeof(Piece)) {
    Piece piece;
    std::memcpy(&piece, entry, sizeof piece);
    const auto address = static_cast<uintptr_t>(piece.address);
    // What has no guard is nobody's to share: the list is in memory that any burst function writes.
    if (!view.holds(piece.offset, piece.length) || !guarded.Holds(address, piece.length)) return arguments.Number(-EINVAL);
    uint8_t* inside = view.data + piece.offset;
    auto* outside = reinterpret_cast<uint8_t*>(address);
    // An overlay of the arena is guarded too, so the two may be the same.
    if (out != 0) std::memmove(outside, inside, piece.length);
    else std::memmove(inside, outside, piece.length);
  }
  return arguments.Number(0);
}

}  // namespace

void InitMemory(Napi::Env env, Napi::Object exports) {
  const auto guards = std::make_shared<Guards>();
  env.GetInstanceData<Environment>()->guards = guards;
  // Before the environment takes its references away, and with it the memory that the guards watch.
  env.AddCleanupHook([](Guards* mine) { mine->Close(); }, guards.get());
  Export<Address>(env, exports, "address");
  Export<Overlay>(env, exports, "overlay");
  Export<Restore>(env, exports, "restore");
  Export<Advise>(env, exports, "advise");
  Export<Memfd>(env, exports, "memfd");
  Export<Guard>(env, exports, "guard");
  Export<MapBeside>(env, exports, "mapBeside");
  Export<UnmapBeside>(env, exports, "unmapBeside");
  Export<CopyList>(env, exports, "copyList");
}

}  // namespace pollmode
