;; A stand-in for WASI preview 1 that never leaves the component: no environment, files, sockets or real time.
;; Guests whose toolchain insists on WASI (Go, C that prints, safe Zig) are linked against it when a core module is
;; made into a component. It may be called while an argument is being allocated, when calling imports is forbidden;
;; that is why the clock and the random numbers are made here.
(module
  (import "env" "memory" (memory 0))

  ;; Nanoseconds: starts above zero (Go refuses to start at zero) and moves 1 us with each reading.
  (global $now (mut i64) (i64.const 1000000))
  ;; State of the generator behind random_get: the same numbers in each fresh instance.
  (global $seed (mut i64) (i64.const 0x9e3779b97f4a7c15))

  (func (export "clock_time_get") (param $id i32) (param $precision i64) (param $out i32) (result i32)
    (global.set $now (i64.add (global.get $now) (i64.const 1000)))
    (i64.store (local.get $out) (global.get $now))
    (i32.const 0))
  (func (export "clock_res_get") (param $id i32) (param $out i32) (result i32)
    (i64.store (local.get $out) (i64.const 1000))
    (i32.const 0))
  (func (export "adapter_monotonic_clock_set_paused") (param $paused i32))

  (func (export "random_get") (param $out i32) (param $len i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $out) (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $out) (local.get $end)))
        (global.set $seed
          (i64.add (i64.mul (global.get $seed) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
        (i32.store8 (local.get $out) (i32.wrap_i64 (i64.shr_u (global.get $seed) (i64.const 56))))
        (local.set $out (i32.add (local.get $out) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; Standard output and error swallow what they are given; nothing else is open (8 = bad file descriptor).
  (func (export "fd_write") (param $fd i32) (param $iovs i32) (param $count i32) (param $written i32) (result i32)
    (local $total i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $total (i32.add (local.get $total) (i32.load offset=4 (local.get $iovs))))
        (local.set $iovs (i32.add (local.get $iovs) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; Sleeping moves the clock; every subscription is ready at once.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (local $left i32)
    (local.set $left (local.get $count))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $in)))
          (then
            (if (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1))
              (then
                (if (i64.lt_u (global.get $now) (i64.load offset=24 (local.get $in)))
                  (then (global.set $now (i64.load offset=24 (local.get $in))))))
              (else
                (global.set $now (i64.add (global.get $now) (i64.load offset=24 (local.get $in))))))))
        (i64.store (local.get $out) (i64.load (local.get $in)))
        (i64.store offset=8 (local.get $out) (i64.const 0))
        (i64.store offset=16 (local.get $out) (i64.const 0))
        (i64.store offset=24 (local.get $out) (i64.const 0))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i32.store (local.get $events) (local.get $count))
    (i32.const 0))

  ;; No arguments, no environment.
  (func $nothing_to_list (param $a i32) (param $b i32) (result i32)
    (i32.store (local.get $a) (i32.const 0))
    (i32.store (local.get $b) (i32.const 0))
    (i32.const 0))
  (func $listed (param i32 i32) (result i32) (i32.const 0))
  (export "args_sizes_get" (func $nothing_to_list))
  (export "environ_sizes_get" (func $nothing_to_list))
  (export "args_get" (func $listed))
  (export "environ_get" (func $listed))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) (unreachable))
  (func (export "proc_raise") (param i32) (result i32) (unreachable))

  ;; 8 = bad file descriptor, for each shape of parameters.
  (func $bad_i (param i32) (result i32) (i32.const 8))
  (func $bad_ii (param i32 i32) (result i32) (i32.const 8))
  (func $bad_iii (param i32 i32 i32) (result i32) (i32.const 8))
  (func $bad_iiii (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func $bad_il (param i32 i64) (result i32) (i32.const 8))
  (func $bad_ill (param i32 i64 i64) (result i32) (i32.const 8))
  (func $bad_illi (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func $bad_ilii (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func $bad_iiili (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func $bad_iiiii (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func $bad_iiiiii (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (export "fd_close" (func $bad_i))
  (export "fd_datasync" (func $bad_i))
  (export "fd_sync" (func $bad_i))
  (export "fd_fdstat_get" (func $bad_ii))
  (export "fd_fdstat_set_flags" (func $bad_ii))
  (export "fd_filestat_get" (func $bad_ii))
  (export "fd_prestat_get" (func $bad_ii))
  (export "fd_renumber" (func $bad_ii))
  (export "fd_tell" (func $bad_ii))
  (export "sock_shutdown" (func $bad_ii))
  (export "fd_prestat_dir_name" (func $bad_iii))
  (export "sock_accept" (func $bad_iii))
  (export "fd_read" (func $bad_iiii))
  (export "fd_filestat_set_size" (func $bad_il))
  (export "fd_allocate" (func $bad_ill))
  (export "fd_fdstat_set_rights" (func $bad_ill))
  (export "fd_advise" (func $bad_illi))
  (export "fd_filestat_set_times" (func $bad_illi))
  (export "fd_seek" (func $bad_ilii))
  (export "fd_pread" (func $bad_iiili))
  (export "fd_pwrite" (func $bad_iiili))
  (export "fd_readdir" (func $bad_iiili))
  (export "sock_send" (func $bad_iiiii))
  (export "sock_recv" (func $bad_iiiiii))

  ;; 44 = no such file or directory.
  (func $no_iii (param i32 i32 i32) (result i32) (i32.const 44))
  (func $no_iiiii (param i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func $no_iiiiii (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (func $no_iiiiiii (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 44))
  (export "path_create_directory" (func $no_iii))
  (export "path_remove_directory" (func $no_iii))
  (export "path_unlink_file" (func $no_iii))
  (export "path_filestat_get" (func $no_iiiii))
  (export "path_symlink" (func $no_iiiii))
  (export "path_readlink" (func $no_iiiiii))
  (export "path_rename" (func $no_iiiiii))
  (export "path_link" (func $no_iiiiiii))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 44))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 44)))
