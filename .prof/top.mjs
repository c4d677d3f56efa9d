import fs from 'node:fs'
const f=fs.readdirSync('.prof').find(x=>x.endsWith('.cpuprofile'));const p=JSON.parse(fs.readFileSync('.prof/'+f));
const self=new Map();const byId=new Map(p.nodes.map(n=>[n.id,n]));
p.samples.forEach((s)=>{const n=byId.get(s);const k=n.callFrame.functionName+' '+n.callFrame.url.split('/').slice(-2).join('/')+':'+n.callFrame.lineNumber;self.set(k,(self.get(k)||0)+1)});
const total=p.samples.length;console.log(total);[...self].sort((a,b)=>b[1]-a[1]).slice(0,25).forEach(([k,v])=>console.log((100*v/total).toFixed(1).padStart(6),k))
