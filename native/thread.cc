// The calling thread: where it runs, what it may do, which namespace it is in, what it cost.
#include "common.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <csignal>
#include <ctime>
#include <unistd.h>

#include <limits>
#include <vector>

namespace pollmode {
namespace {

// Longer than any kernel's NR_CPUS; the kernel takes longer masks than its own, and refuses shorter ones.
constexpr int kCpus = 8192;
constexpr size_t kMask = kCpus / 8;

Napi::Value Gettid(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(syscall(SYS_gettid)));
}

Napi::Value SetAffinity(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int cpu = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  if (cpu < -1 || cpu >= kCpus) return arguments.Number(-EINVAL);
  // All ones: the kernel takes away what the process's cpuset does not allow.
  std::vector<unsigned char> mask(kMask, cpu == -1 ? 0xff : 0);
  if (cpu >= 0) CPU_SET_S(cpu, kMask, reinterpret_cast<cpu_set_t*>(mask.data()));
  return arguments.Result(sched_setaffinity(0, kMask, reinterpret_cast<cpu_set_t*>(mask.data())));
}

Napi::Value Affinity(const Napi::CallbackInfo& info) {
  std::vector<unsigned char> mask(kMask, 0);
  Napi::Array cpus = Napi::Array::New(info.Env());
  auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
  if (sched_getaffinity(0, kMask, set) != 0) return cpus;
  for (int cpu = 0; cpu < kCpus; cpu++) {
    if (CPU_ISSET_S(cpu, kMask, set)) cpus.Set(cpus.Length(), Napi::Number::New(info.Env(), cpu));
  }
  return cpus;
}

Napi::Value Setns(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int type = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(setns(fd, type));
}

Napi::Value Unshare(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int flags = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(unshare(flags));
}

Napi::Value Capabilities(const Napi::CallbackInfo& info) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  uint64_t effective = 0;
  if (syscall(SYS_capget, &header, data) == 0) effective = data[0].effective | uint64_t{data[1].effective} << 32;
  return Napi::BigInt::New(info.Env(), effective);
}

double Microseconds(const struct timeval& time) {
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
}

Napi::Value Usage(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const bool whole = arguments.Bool(0);
  const View into = arguments.Doubles(1);
  if (arguments.failed()) return arguments.Undefined();
  if (into.length < 32) return arguments.Number(-EINVAL);
  struct rusage usage;
  if (getrusage(whole ? RUSAGE_SELF : RUSAGE_THREAD, &usage) != 0) return arguments.Result(-1);
  auto* fields = reinterpret_cast<double*>(into.data);
  fields[0] = Microseconds(usage.ru_utime);
  fields[1] = Microseconds(usage.ru_stime);
  fields[2] = static_cast<double>(usage.ru_nvcsw);
  fields[3] = static_cast<double>(usage.ru_nivcsw);
  return arguments.Number(0);
}

double FromLimit(rlim_t limit) {
  return limit == RLIM_INFINITY ? std::numeric_limits<double>::infinity() : static_cast<double>(limit);
}

rlim_t ToLimit(double limit) { return std::isinf(limit) ? RLIM_INFINITY : static_cast<rlim_t>(limit); }

Napi::Value Rlimit(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int resource = arguments.Int(0);
  const View into = arguments.Doubles(1);
  const bool change = !arguments.Absent(2);
  const double soft = change ? arguments.Double(2) : 0;
  if (arguments.failed()) return arguments.Undefined();
  if (into.length < 16 || resource < 0 || !(soft >= 0)) return arguments.Number(-EINVAL);
  const auto which = static_cast<__rlimit_resource_t>(resource);
  struct rlimit limit;
  if (getrlimit(which, &limit) != 0) return arguments.Result(-1);
  if (change) {
    limit.rlim_cur = ToLimit(soft);
    if (setrlimit(which, &limit) != 0) return arguments.Result(-1);
  }
  auto* fields = reinterpret_cast<double*>(into.data);
  fields[0] = FromLimit(limit.rlim_cur);
  fields[1] = FromLimit(limit.rlim_max);
  return arguments.Number(0);
}

Napi::Value Alive(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int pid = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  if (pid <= 0) return arguments.Number(-EINVAL);  // 0 and below mean groups of processes to kill(2)
  return arguments.Result(kill(pid, 0));
}

uint64_t TimeStampCounter() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t count;
  asm volatile("mrs %0, cntvct_el0" : "=r"(count));
  return count;
#else
  return 0;
#endif
}

Napi::Value Clock(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View into = arguments.Doubles(0);
  if (arguments.failed()) return arguments.Undefined();
  if (into.length < 16) return arguments.Undefined();
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  auto* fields = reinterpret_cast<double*>(into.data);
  fields[0] = static_cast<double>(TimeStampCounter());
  fields[1] = static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
  return arguments.Undefined();
}

}  // namespace

void InitThread(Napi::Env env, Napi::Object exports) {
  Export<Gettid>(env, exports, "gettid");
  Export<SetAffinity>(env, exports, "setAffinity");
  Export<Affinity>(env, exports, "affinity");
  Export<Setns>(env, exports, "setns");
  Export<Unshare>(env, exports, "unshare");
  Export<Capabilities>(env, exports, "capabilities");
  Export<Usage>(env, exports, "usage");
  Export<Rlimit>(env, exports, "rlimit");
  Export<Alive>(env, exports, "alive");
  Export<Clock>(env, exports, "clock");
}

}  // namespace pollmode
