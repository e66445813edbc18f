import { execFileSync } from 'node:child_process';
import { readFileSync, mkdtempSync, rmSync } from 'node:fs';
import { inspect, inspectHead } from '../../../../../activities/image/inspect';
import { defaultImagePolicy as policy } from '../../../../../activities/image/policy';
const dir = mkdtempSync('/tmp/insp/t-');
afterAll(() => rmSync(dir, { recursive: true }));
const cases: [string, string, string[]][] = [];
for (const o of ['subformat=monolithicSparse','subformat=streamOptimized','subformat=monolithicSparse,zeroed_grain=on','subformat=monolithicFlat','subformat=twoGbMaxExtentSparse', 'adapter_type=lsilogic,compat6']) cases.push(['vmdk','vmdk',['-o',o]]);
for (const o of ['subformat=dynamic','subformat=fixed','subformat=dynamic,force_size=on','subformat=fixed,force_size=on']) cases.push(['vhd','vpc',['-o',o]]);
for (const o of ['subformat=dynamic','subformat=fixed','subformat=dynamic,block_size=1M','subformat=dynamic,log_size=4M']) cases.push(['vhdx','vhdx',['-o',o]]);
for (const o of ['static=off','static=on']) cases.push(['vdi','vdi',['-o',o]]);
test.each(cases)('%s %s %j', async (format, qemu, args) => {
  const path = `${dir}/x`;
  execFileSync('qemu-img', ['create','-q','-f','raw',dir+'/src','40M']);
  execFileSync('qemu-io', ['-f','raw','-c','write -P 3 0 1M','-c','write -P 4 20M 64k',dir+'/src']);
  for (const how of ['create','convert']) {
  rmSync(path,{force:true});
  execFileSync('qemu-img', how==='create'?['create','-q','-f',qemu,...args,path,'40M']:['convert','-f','raw','-O',qemu,...args,dir+'/src',path]);
  const bytes = readFileSync(path);
  const v = await inspect({declaredFormat: format, sizeBytes: bytes.length, policy, read: async (o,l)=>bytes.subarray(o,o+l)});
  const h = inspectHead(bytes.subarray(0,1<<20),{declaredFormat:format,sizeBytes:bytes.length,policy});
  const info = JSON.parse(execFileSync('qemu-img',['info','-f',qemu,'--output=json',path],{encoding:'utf8'}));
  process.stderr.write(how+' '+args[1]+' '+JSON.stringify(v)+ JSON.stringify(h)+info['virtual-size']+'\n');
  }
});
