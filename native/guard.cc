// The only state of the addon that belongs to the process: signal actions do, and a handler can reach nothing else. It
// takes no lock, allocates nothing and is of fixed size, because the handler may interrupt any thread at any place.
#include "guard.h"

#include <csignal>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace pollmode {
namespace {

constexpr size_t kSlots = 512;
constexpr uint64_t kFree = 0;
constexpr uint64_t kChanging = 1;
constexpr size_t kHugePage = size_t{2} << 20;

// `id` is kFree, kChanging, or the guard's own number, which is never used twice: a reader that finds the same id
// before and after has read one guard, and nobody can drop a slot's next tenant by mistake.
struct Slot {
  std::atomic<uint64_t> id{kFree};
  std::atomic<uintptr_t> start{0};
  std::atomic<size_t> length{0};
  std::atomic<uint32_t*> flag{nullptr};
};

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uintptr_t>::is_always_lock_free,
              "the handler must not take a lock");

Slot slots[kSlots];
std::atomic<uint64_t> next_id{2};
// 0 not installed, 1 being installed, 2 installed. Never uninstalled: another library may have chained to us since.
std::atomic<int> installed{0};
struct sigaction previous;
size_t page_size = 4096;

struct Range {
  uintptr_t start;
  size_t length;
  uint32_t* flag;
};

bool Read(Slot& slot, uint64_t* id, Range* range) {
  *id = slot.id.load(std::memory_order_acquire);
  if (*id <= kChanging) return false;
  range->start = slot.start.load(std::memory_order_relaxed);
  range->length = slot.length.load(std::memory_order_relaxed);
  range->flag = slot.flag.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);  // pairs with the release fence in AddGuard
  return slot.id.load(std::memory_order_relaxed) == *id;
}

bool Find(uintptr_t address, Range* range) {
  for (Slot& slot : slots) {
    uint64_t id;
    if (Read(slot, &id, range) && address - range->start < range->length) return true;
  }
  return false;
}

bool Replace(uintptr_t start, size_t length) {
  void* at = reinterpret_cast<void*>(start);
  return mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

// One page where that will do; 2 MiB under hugetlbfs, which cannot be split; the whole range when the process has no
// more mappings to spend.
bool ReplaceAround(uintptr_t address, const Range& range) {
  if (Replace(address & ~(page_size - 1), page_size)) return true;
  const uintptr_t huge = address & ~(kHugePage - 1);
  const bool inside = huge >= range.start && huge + kHugePage <= range.start + range.length;
  if (inside && Replace(huge, kHugePage)) return true;
  return Replace(range.start, range.length);
}

void PassOn(int signal, siginfo_t* info, void* context) {
  if (previous.sa_flags & SA_SIGINFO) return previous.sa_sigaction(signal, info, context);
  const bool sent = info->si_code <= 0;  // by kill(2) and the like: returning would not raise it again
  if (previous.sa_handler == SIG_IGN && sent) return;
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);
  if (sent) raise(signal);
}

// A misaligned access would fault again on any page, and a signal that was sent has no address.
bool Repair(const siginfo_t* info) {
  if (info->si_code <= 0 || info->si_code == BUS_ADRALN) return false;
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  Range range;
  if (!Find(address, &range) || !ReplaceAround(address, range)) return false;
  __atomic_fetch_add(range.flag, 1, __ATOMIC_RELEASE);
  return true;
}

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  if (!Repair(info)) PassOn(signal, info, context);
  errno = saved;
}

bool Install() {
  int expected = 0;
  if (!installed.compare_exchange_strong(expected, 1)) {
    while (installed.load(std::memory_order_acquire) == 1) usleep(10);
    return installed.load(std::memory_order_acquire) == 2;
  }
  page_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = OnSigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  // Read first: `previous` must stand before the first signal can arrive.
  const bool done = sigaction(SIGBUS, nullptr, &previous) == 0 && sigaction(SIGBUS, &action, nullptr) == 0;
  installed.store(done ? 2 : 0, std::memory_order_release);
  return done;
}

}  // namespace

uint64_t AddGuard(uintptr_t start, size_t length, uint32_t* flag) {
  if (!Install()) return 0;
  for (Slot& slot : slots) {
    uint64_t expected = kFree;
    if (!slot.id.compare_exchange_strong(expected, kChanging, std::memory_order_acq_rel)) continue;
    std::atomic_thread_fence(std::memory_order_release);  // pairs with the acquire fence in Read
    slot.start.store(start, std::memory_order_relaxed);
    slot.length.store(length, std::memory_order_relaxed);
    slot.flag.store(flag, std::memory_order_relaxed);
    const uint64_t id = next_id.fetch_add(1, std::memory_order_relaxed);
    slot.id.store(id, std::memory_order_release);
    return id;
  }
  errno = ENOSPC;
  return 0;
}

void DropGuard(uint64_t id) {
  for (Slot& slot : slots) {
    uint64_t expected = id;
    if (slot.id.compare_exchange_strong(expected, kFree, std::memory_order_acq_rel)) return;
  }
}

void DropGuardsInside(uintptr_t start, size_t length) {
  for (Slot& slot : slots) {
    uint64_t id;
    Range range;
    if (!Read(slot, &id, &range)) continue;
    if (range.start < start || range.start + range.length > start + length) continue;
    slot.id.compare_exchange_strong(id, kFree, std::memory_order_acq_rel);
  }
}

bool GuardStands(uint64_t id) {
  for (const Slot& slot : slots) {
    if (slot.id.load(std::memory_order_acquire) == id) return true;
  }
  return false;
}

bool Guarded::Holds(uintptr_t address, size_t size) {
  const auto inside = [=](uintptr_t from, size_t bytes) { return address - from <= bytes && size <= bytes - (address - from); };
  if (length != 0 && inside(start, length)) return true;
  for (Slot& slot : slots) {
    uint64_t id;
    Range range;
    if (!Read(slot, &id, &range) || !inside(range.start, range.length)) continue;
    start = range.start;
    length = range.length;
    return true;
  }
  return false;
}

}  // namespace pollmode
